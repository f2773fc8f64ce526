"""Passkeys: WebAuthn credentials that a user logs in with, and the rules of their use.

The steps are those of Web Authentication Level 3, sections 7.1 and 7.2. What needs cryptography is
behind the port `application.ports.passkeys`; the rules here look at what it has verified.
"""

import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NewType

from domain.errors import Conflict, NotFound, RuleBroken
from domain.users import UserId

PasskeyId = NewType("PasskeyId", int)

NAME_MAX = 64
PASSKEYS_MAX = 50
"""Passkeys of a user. New options name them all, so that no authenticator makes a second one."""
CREDENTIAL_ID_MAX = 1023
"""Bytes (section 7.1)."""
CHALLENGE_LIFE = timedelta(minutes=5)
"""From the options to the answer of the authenticator."""


class BadPasskey(RuleBroken):
    """The same for every cause, so that the response does not reveal the cause."""

    detail = "The passkey could not be verified"


class BadPasskeyName(RuleBroken):
    detail = f"The name must have 1 to {NAME_MAX} characters and no control characters"


class PasskeyKnown(Conflict):
    detail = "This passkey is registered already"


class TooManyPasskeys(Conflict):
    detail = f"A user has at most {PASSKEYS_MAX} passkeys: delete one first"


class PasskeyNotFound(NotFound):
    def __init__(self, passkey_id: int) -> None:
        super().__init__(f"Passkey with id: {passkey_id} was not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What `navigator.credentials.create()` gave (section 5.2.1), not verified."""

    credential_id: bytes = field(repr=False)
    client_data: bytes = field(repr=False)
    """`clientDataJSON`."""
    attestation_object: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What `navigator.credentials.get()` gave (section 5.2.2), not verified."""

    credential_id: bytes = field(repr=False)
    client_data: bytes = field(repr=False)
    """`clientDataJSON`."""
    authenticator_data: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    user_handle: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatorState:
    """What the authenticator said of a credential when it used it last (section 6.1)."""

    sign_count: int
    """Signatures until now; 0 from authenticators that do not count."""
    backup_eligible: bool
    """Whether the credential can be backed up, which it keeps for life."""
    backed_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCredential:
    """A new credential, as its attestation was verified."""

    credential_id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    """A COSE key (RFC 9052, section 7)."""
    state: AuthenticatorState


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyChallenge:
    """A challenge that was sent with options. It is used up by the first answer to it."""

    challenge_hash: str = field(repr=False)
    user_id: UserId | None
    """Who may answer it with a new passkey. None: it is for a login, by anybody."""
    user_handle: bytes | None
    """The user handle in the options of a new passkey."""
    expires_at: datetime

    def is_for_enrolment(self, user_id: UserId, now: datetime) -> bool:
        return self.user_id == user_id and now < self.expires_at

    def is_for_login(self, now: datetime) -> bool:
        return self.user_id is None and now < self.expires_at


def new_challenge(challenge: bytes, now: datetime) -> PasskeyChallenge:
    """The challenge of a login."""
    return PasskeyChallenge(
        challenge_hash=challenge_hash(challenge),
        user_id=None,
        user_handle=None,
        expires_at=now + CHALLENGE_LIFE,
    )


def new_enrolment(
    challenge: bytes, user_id: UserId, user_handle: bytes, now: datetime
) -> PasskeyChallenge:
    """The challenge of a new passkey of this user."""
    return PasskeyChallenge(
        challenge_hash=challenge_hash(challenge),
        user_id=user_id,
        user_handle=user_handle,
        expires_at=now + CHALLENGE_LIFE,
    )


def challenge_hash(challenge: bytes) -> str:
    """The stored form of a challenge. It has 256 random bits, so a fast hash suffices."""
    return sha256(challenge).hexdigest()


@dataclass(slots=True, kw_only=True, eq=False)
class Passkey:
    id: PasskeyId
    user_id: UserId
    name: str
    credential_id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    user_handle: bytes = field(repr=False)
    """The id of its user for the authenticator: random, and no personal data (section 14.6.1)."""
    state: AuthenticatorState
    created_at: datetime
    last_used_at: datetime | None

    def rename(self, name: str) -> None:
        """Raises `BadPasskeyName`."""
        self.name = sound_name(name)

    def use(self, user_handle: bytes | None, state: AuthenticatorState, now: datetime) -> None:
        """Record a use whose signature was verified. Raises `BadPasskey` if it breaks a rule."""
        context = UseContext(passkey=self, user_handle=user_handle, state=state)
        for rule in USE_RULES:
            rule(context)
        self.state = state
        self.last_used_at = now


@dataclass(frozen=True, slots=True, kw_only=True)
class UseContext:
    """What a rule may look at when a passkey is used."""

    passkey: Passkey
    user_handle: bytes | None
    state: AuthenticatorState
    """As the authenticator says now. The passkey still has the previous state."""


UseRule = Callable[[UseContext], None]


def handle_is_the_users(context: UseContext) -> None:
    """A discoverable credential always comes with its user handle."""
    if context.user_handle != context.passkey.user_handle:
        raise BadPasskey


def counter_grows(context: UseContext) -> None:
    """A counter that does not grow may be that of a copied key. An authenticator without a counter
    always says 0.
    """
    before, count = context.passkey.state.sign_count, context.state.sign_count
    if (before or count) and count <= before:
        raise BadPasskey


def eligibility_is_unchanged(context: UseContext) -> None:
    """A credential keeps its backup eligibility for life (section 6.1.3)."""
    if context.state.backup_eligible != context.passkey.state.backup_eligible:
        raise BadPasskey


USE_RULES: tuple[UseRule, ...] = (handle_is_the_users, counter_grows, eligibility_is_unchanged)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPasskey:
    """A passkey that passed the rules, ready to be stored."""

    user_id: UserId
    name: str
    credential: VerifiedCredential
    user_handle: bytes = field(repr=False)
    created_at: datetime

    def stored_as(self, passkey_id: int) -> Passkey:
        return Passkey(
            id=PasskeyId(passkey_id),
            user_id=self.user_id,
            name=self.name,
            credential_id=self.credential.credential_id,
            public_key=self.credential.public_key,
            user_handle=self.user_handle,
            state=self.credential.state,
            created_at=self.created_at,
            last_used_at=None,
        )


def enrol(
    credential: VerifiedCredential,
    *,
    challenge: PasskeyChallenge,
    user_id: UserId,
    name: str,
    passkeys: Collection[Passkey],
    now: datetime,
) -> NewPasskey:
    """The passkey that `credential` becomes beside the user's other `passkeys`.

    Raises `BadPasskey` if `challenge` was not for this user, `TooManyPasskeys` or `BadPasskeyName`.
    """
    handle = challenge.user_handle
    if handle is None or not challenge.is_for_enrolment(user_id, now):
        raise BadPasskey
    if not 1 <= len(credential.credential_id) <= CREDENTIAL_ID_MAX:
        raise BadPasskey
    room_is_left(passkeys)
    return NewPasskey(
        user_id=user_id,
        name=sound_name(name),
        credential=credential,
        user_handle=handle,
        created_at=now,
    )


def room_is_left(passkeys: Collection[Passkey]) -> None:
    """Raise `TooManyPasskeys` if the user of these `passkeys` may have no other one."""
    if len(passkeys) >= PASSKEYS_MAX:
        raise TooManyPasskeys


def sound_name(name: str) -> str:
    """`name` without white space around it. Raises `BadPasskeyName`."""
    trimmed = name.strip()
    categories = {unicodedata.category(character) for character in name}
    if not 1 <= len(trimmed) <= NAME_MAX or categories & {"Cc", "Cs", "Zl", "Zp"}:
        raise BadPasskeyName
    return trimmed


def base64url(data: bytes) -> str:
    """How WebAuthn writes bytes in JSON (RFC 4648, section 5), unpadded."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError unless `text` is the one unpadded spelling (RFC 4648, section 5)."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data
