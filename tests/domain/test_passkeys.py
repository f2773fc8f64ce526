from dataclasses import replace
from datetime import timedelta

import pytest

from domain.errors import DomainError
from domain.passkeys import (
    CHALLENGE_LIFE,
    PASSKEYS_MAX,
    AuthenticatorState,
    BadPasskey,
    BadPasskeyName,
    Passkey,
    TooManyPasskeys,
    enrol,
    new_challenge,
    new_enrolment,
)
from domain.users import UserId
from tests.factories import PasskeyFactory, VerifiedCredentialFactory
from tests.fakes.clock import NOON

ANNA, BOB = UserId(1), UserId(2)
LATER = NOON + timedelta(hours=1)
HANDLE = b"handle"


def state(sign_count: int, *, eligible: bool = True, backed_up: bool = True) -> AuthenticatorState:
    return AuthenticatorState(sign_count=sign_count, backup_eligible=eligible, backed_up=backed_up)


# Counters before and now, and whether the use is accepted.
COUNTERS = [
    (0, 0, True),
    (0, 1, True),
    (7, 8, True),
    (7, 4_000_000_000, True),
    (7, 7, False),
    (7, 6, False),
    (7, 0, False),
]


@pytest.mark.parametrize(("before", "now", "accepted"), COUNTERS)
def test_a_counter_that_is_not_zero_must_grow(before: int, now: int, accepted: bool) -> None:
    passkey: Passkey = PasskeyFactory.build(user_handle=HANDLE, state=state(before))

    if not accepted:
        with pytest.raises(BadPasskey):
            passkey.use(HANDLE, state(now), LATER)
    else:
        passkey.use(HANDLE, state(now), LATER)
    assert passkey.state == state(now if accepted else before)
    assert passkey.last_used_at == (LATER if accepted else None)


@pytest.mark.parametrize("handle", [None, b"", b"another", HANDLE + b"\0"])
def test_a_missing_or_foreign_user_handle_is_refused(handle: bytes | None) -> None:
    passkey: Passkey = PasskeyFactory.build(user_handle=HANDLE)

    with pytest.raises(BadPasskey):
        passkey.use(handle, state(1), LATER)
    assert passkey.last_used_at is None


@pytest.mark.parametrize("eligible", [True, False])
def test_a_changed_backup_eligibility_is_refused(eligible: bool) -> None:
    before = state(0, eligible=eligible, backed_up=False)
    passkey: Passkey = PasskeyFactory.build(user_handle=HANDLE, state=before)

    with pytest.raises(BadPasskey):
        passkey.use(HANDLE, replace(before, backup_eligible=not eligible), LATER)


def test_whether_a_passkey_is_backed_up_may_change() -> None:
    passkey: Passkey = PasskeyFactory.build(user_handle=HANDLE, state=state(0, backed_up=False))

    passkey.use(HANDLE, state(0), LATER)

    assert passkey.state.backed_up


NAMES = {"Phone": "Phone", " my key\u3000": "my key", "n" * 64: "n" * 64, "🔑": "🔑"}


@pytest.mark.parametrize(("name", "kept"), NAMES.items())
def test_a_name_is_kept_without_white_space_around_it(name: str, kept: str) -> None:
    passkey: Passkey = PasskeyFactory.build()

    passkey.rename(name)

    assert passkey.name == kept


@pytest.mark.parametrize("name", ["", "  ", "n" * 65, "a\nb", "a\0b", "\ud800", "a\u2028b"])
def test_an_unsound_name_is_refused(name: str) -> None:
    passkey: Passkey = PasskeyFactory.build(name="Phone")

    with pytest.raises(BadPasskeyName):
        passkey.rename(name)
    assert passkey.name == "Phone"


FOR_ANNA = new_enrolment(b"challenge", ANNA, HANDLE, NOON)


def test_a_verified_credential_becomes_a_passkey_of_who_was_challenged() -> None:
    credential = VerifiedCredentialFactory.build()

    new = enrol(credential, challenge=FOR_ANNA, user_id=ANNA, name=" Phone ", passkeys=[], now=NOON)
    passkey = new.stored_as(7)

    assert (passkey.id, passkey.user_id, passkey.name) == (7, ANNA, "Phone")
    assert (passkey.user_handle, passkey.created_at, passkey.last_used_at) == (HANDLE, NOON, None)
    assert passkey.credential_id == credential.credential_id
    assert passkey.public_key == credential.public_key
    assert passkey.state == credential.state


FULL = [PasskeyFactory.build() for _ in range(PASSKEYS_MAX)]
REFUSED_ENROLMENTS: dict[str, tuple[dict[str, object], type[DomainError]]] = {
    "another user's challenge": ({"user_id": BOB}, BadPasskey),
    "the challenge of a login": ({"challenge": new_challenge(b"challenge", NOON)}, BadPasskey),
    "an expired challenge": ({"now": NOON + CHALLENGE_LIFE}, BadPasskey),
    "a credential id that is too long": (
        {"credential": VerifiedCredentialFactory.build(credential_id=bytes(1024))},
        BadPasskey,
    ),
    "no credential id": (
        {"credential": VerifiedCredentialFactory.build(credential_id=b"")},
        BadPasskey,
    ),
    "too many passkeys": ({"passkeys": FULL}, TooManyPasskeys),
    "an unsound name": ({"name": "\n"}, BadPasskeyName),
}


@pytest.mark.parametrize(
    ("changes", "error"), REFUSED_ENROLMENTS.values(), ids=REFUSED_ENROLMENTS.keys()
)
def test_an_enrolment_is_refused_for(changes: dict[str, object], error: type[DomainError]) -> None:
    sound: dict[str, object] = {
        "credential": VerifiedCredentialFactory.build(),
        "challenge": FOR_ANNA,
        "user_id": ANNA,
        "name": "Phone",
        "passkeys": FULL[1:],
        "now": NOON + CHALLENGE_LIFE - timedelta(microseconds=1),
    }
    enrol(**sound)  # type: ignore[arg-type]  # a table of arguments

    with pytest.raises(error):
        enrol(**sound | changes)  # type: ignore[arg-type]  # a table of arguments


def test_a_challenge_of_a_login_is_for_anybody_until_it_expires() -> None:
    challenge = new_challenge(b"challenge", NOON)

    assert challenge.is_for_login(NOON)
    assert not challenge.is_for_login(NOON + CHALLENGE_LIFE)
    assert not FOR_ANNA.is_for_login(NOON)


def test_no_repr_shows_what_identifies_a_passkey() -> None:
    passkey: Passkey = PasskeyFactory.build(
        credential_id=b"credential", public_key=b"key", user_handle=b"handle"
    )

    for secret in ("credential'", "b'key'", "b'handle'"):
        assert secret not in repr(passkey)
