from datetime import datetime, timedelta

import pytest

from domain.factors import (
    FRESH_FOR,
    RECOVERY_CODE_BYTES,
    FactorPolicy,
    SecondFactorNeeded,
    StaleLogin,
    must_be_fresh,
    must_have_what_is_required,
    recovery_code,
    recovery_code_hash,
    totp_code,
)
from domain.sessions import Lifetimes, Method, Methods, Session
from domain.users import Role, UserId
from tests.factories import SessionFactory, UserFactory
from tests.fakes.clock import NOON

INSTANT = timedelta(microseconds=1)
PASSWORD: Methods = (Method.PASSWORD,)
CODE: Methods = (Method.ONE_TIME_PASSWORD,)
PASSKEY: Methods = (Method.HARDWARE_KEY, Method.USER_PRESENCE)
LONG_AGO = NOON - timedelta(days=10)


def is_fresh(session: Session, now: datetime, *, second_factor_since: datetime | None) -> bool:
    user = UserFactory.build(id=session.user_id, second_factor_since=second_factor_since)
    try:
        must_be_fresh(session, user, now, FactorPolicy())
    except StaleLogin:
        return False
    return True


@pytest.mark.parametrize(
    ("methods", "since", "ok"),
    [
        (PASSWORD, None, True),
        (PASSKEY, None, True),
        (PASSWORD, LONG_AGO, False),
        (PASSWORD + CODE, LONG_AGO, True),
        (PASSKEY, LONG_AGO, True),
        # The session is older than the enrolment, so its code was one of another secret.
        (PASSWORD + CODE, NOON + INSTANT, False),
    ],
)
def test_a_login_is_fresh_if_it_proved_what_the_account_asks_for(
    methods: Methods, since: datetime | None, ok: bool
) -> None:
    session = SessionFactory.build(created_at=NOON, methods=methods)

    assert is_fresh(session, NOON + FRESH_FOR - INSTANT, second_factor_since=since) is ok
    assert not is_fresh(session, NOON + FRESH_FOR, second_factor_since=since)


@pytest.mark.parametrize(
    ("proof", "since", "ok"),
    [
        (PASSWORD, None, True),
        (CODE, LONG_AGO, True),
        (PASSKEY, LONG_AGO, True),
        # The code of the login is old, and a password is no second factor.
        (PASSWORD, LONG_AGO, False),
    ],
)
def test_a_proof_makes_a_session_fresh_again(
    proof: Methods, since: datetime | None, ok: bool
) -> None:
    session = SessionFactory.build(created_at=NOON, methods=PASSWORD + CODE)
    later = NOON + timedelta(days=1)

    session.prove(proof, later)

    assert session.proved_at == later
    assert is_fresh(session, later, second_factor_since=since) is ok


def test_a_session_lists_each_method_once() -> None:
    session = SessionFactory.build(methods=PASSWORD)

    for proof in (CODE, PASSWORD, PASSKEY, CODE):
        session.prove(proof, NOON)

    assert session.methods == PASSWORD + CODE + PASSKEY


def test_a_refresh_is_no_proof() -> None:
    user = UserFactory.build()
    session = SessionFactory.build(user_id=user.id, created_at=NOON)

    session.refresh(user, lifetimes=Lifetimes(), now=NOON + FRESH_FOR)

    assert session.proved_at == NOON
    assert not is_fresh(session, NOON + FRESH_FOR, second_factor_since=None)


def test_nothing_is_stale_without_strong_login() -> None:
    session = SessionFactory.build(created_at=LONG_AGO)

    must_be_fresh(session, UserFactory.build(), NOON, FactorPolicy(fresh_for=None))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("has_one", [False, True])
def test_a_role_that_needs_a_second_factor_is_refused_without(role: Role, has_one: bool) -> None:
    policy = FactorPolicy(required_of=frozenset({Role.MODERATOR, Role.ADMIN}))
    user = UserFactory.build(role=role, second_factor_since=NOON if has_one else None)

    if has_one or role is Role.MEMBER:
        must_have_what_is_required(user, policy)
    else:
        with pytest.raises(SecondFactorNeeded):
            must_have_what_is_required(user, policy)


def groups(letter: str) -> str:
    return "-".join([letter * 4] * 6)


def test_a_recovery_code_has_120_bits_in_groups() -> None:
    lowest, highest = (recovery_code(byte * RECOVERY_CODE_BYTES) for byte in (b"\0", b"\xff"))

    assert RECOVERY_CODE_BYTES * 8 == 120
    assert (lowest, highest) == (groups("a"), groups("7"))


@pytest.mark.parametrize(
    "spelling", ["ABCD-efgh-ijkl-mnop", " abcdefghijklmnop ", "abcd efgh-ijklmnop"]
)
def test_the_spelling_of_a_recovery_code_does_not_matter(spelling: str) -> None:
    anna, bert = UserId(1), UserId(2)
    stored = recovery_code_hash(anna, "abcd-efgh-ijkl-mnop")

    assert recovery_code_hash(anna, spelling) == stored
    assert recovery_code_hash(bert, spelling) != stored
    assert recovery_code_hash(anna, "\ud800") != stored


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("123456", "123456"),
        (" 123 456 ", "123456"),
        ("12345", None),
        ("1234567", None),
        ("abcdef", None),
        ("\u0661\u0662\u0663\u0664\u0665\u0666", None),
        ("", None),
    ],
)
def test_six_digits_are_a_code_of_an_app(text: str, code: str | None) -> None:
    assert totp_code(text) == code
