"""WebAuthn and the storage of passkeys, as ports."""

from collections.abc import Collection, Mapping
from typing import Protocol

from application.ports.adapter import Adapter
from domain.passkeys import (
    Assertion,
    Attestation,
    AuthenticatorState,
    NewPasskey,
    Passkey,
    PasskeyChallenge,
    VerifiedCredential,
)
from domain.users import User, UserId

Options = Mapping[str, object]
"""JSON for a browser: `PublicKeyCredentialCreationOptionsJSON` or
`PublicKeyCredentialRequestOptionsJSON` (Web Authentication Level 3, sections 5.1.9 and 5.1.10).
"""


class Passkeys(Adapter, Protocol):
    """The ceremonies of one relying party: the steps of sections 7.1 and 7.2 that need no storage.

    Users must be verified, credentials discoverable and without attestation, and their algorithm
    is -8, -7 or -257. Whether a challenge was sent, and is not used yet, is the caller's business.
    """

    def creation_options(
        self, challenge: bytes, user: User, user_handle: bytes, known: Collection[bytes]
    ) -> Options:
        """Options for a new passkey of `user`, who has passkeys with the credential ids `known`."""
        ...

    def request_options(self, challenge: bytes) -> Options:
        """Options for a login. They name no user and no passkey."""
        ...

    async def challenge_of(self, answer: Attestation | Assertion) -> bytes:
        """The challenge that `answer` claims to answer, unverified. Raises `BadPasskey`."""
        ...

    async def verify_attestation(
        self, attestation: Attestation, challenge: bytes
    ) -> VerifiedCredential:
        """The new credential. Raises `BadPasskey`."""
        ...

    async def verify_assertion(
        self, assertion: Assertion, challenge: bytes, public_key: bytes
    ) -> AuthenticatorState:
        """What the authenticator says of the credential with `public_key`, which has signed
        `challenge`. Raises `BadPasskey`.
        """
        ...


class PasskeyQueries(Protocol):
    async def of_user(self, user_id: UserId) -> list[Passkey]:
        """The user's passkeys, the oldest first."""
        ...

    async def owner(self, credential_id: bytes) -> User | None:
        """The user who has a passkey with this credential id."""
        ...


class PasskeyRepository(Protocol):
    """Changes of a user's passkeys, by units of work that have locked the user by `Users.get`."""

    async def add(self, new: NewPasskey) -> Passkey:
        """Raises `PasskeyKnown` if the credential is registered, by whomever."""
        ...

    async def of_user(self, user_id: UserId) -> list[Passkey]:
        """The user's passkeys, the oldest first."""
        ...

    async def save(self, entity: Passkey) -> None: ...

    async def remove(self, entity: Passkey) -> None: ...

    async def remove_all(self, user_id: UserId) -> int:
        """Remove the user's passkeys and the challenges of new ones. Returns how many passkeys."""
        ...


class PasskeyChallenges(Protocol):
    async def add(self, challenge: PasskeyChallenge) -> None:
        """The commit raises `AlreadyGone` if the user was deleted."""
        ...

    async def consume(self, challenge_hash: str) -> PasskeyChallenge | None:
        """Delete and return the challenge with this hash, expired or not. Of several concurrent
        calls one returns it.
        """
        ...
