from base64 import urlsafe_b64decode
from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.errors import Unauthenticated
from domain.sessions import (
    InvalidCredentials,
    InvalidToken,
    NotAuthenticated,
    RefreshChain,
    Session,
    network_of,
    refresh_hash,
    site_of,
    successor,
)
from domain.users import User
from tests.factories import NewSessionFactory, SessionFactory, UserFactory
from tests.fakes.clock import NOON

INSTANT = timedelta(microseconds=1)
ISSUED_AT = NOON.replace(microsecond=0)


def login(**of_session: object) -> tuple[Session, User]:
    user = UserFactory.build(tokens_valid_from=NOON)
    return SessionFactory.build(**{"user_id": user.id} | of_session), user


def is_valid_for(
    session: Session, user: User, *, issued_at: datetime = ISSUED_AT, now: datetime = NOON
) -> bool:
    return session.is_valid_for(user, issued_at=issued_at, now=now)


def test_a_session_is_valid_for_its_user() -> None:
    assert is_valid_for(*login())


def test_a_session_is_not_valid_for_another_user() -> None:
    session, user = login()

    assert not is_valid_for(session, UserFactory.build(id=user.id + 1))


def test_a_session_is_not_valid_at_its_expiry() -> None:
    session, user = login()

    assert is_valid_for(session, user, now=session.expires_at - INSTANT)
    assert not is_valid_for(session, user, now=session.expires_at)
    assert not is_valid_for(session, user, now=session.expires_at + INSTANT)


@pytest.mark.parametrize("since", [-timedelta(days=1), timedelta(0), timedelta(days=1)])
def test_a_revoked_session_is_not_valid(since: timedelta) -> None:
    assert not is_valid_for(*login(revoked_at=NOON + since))


def test_a_session_is_not_valid_for_a_deactivated_user() -> None:
    session, user = login()
    user.is_active = False

    assert not is_valid_for(session, user)


def test_a_token_from_before_tokens_valid_from_is_refused() -> None:
    session, user = login()
    user.tokens_valid_from = ISSUED_AT + timedelta(seconds=1)

    assert not is_valid_for(session, user, issued_at=ISSUED_AT)
    assert is_valid_for(session, user, issued_at=ISSUED_AT + timedelta(seconds=1))


def test_a_token_of_the_same_second_is_valid_because_tokens_have_whole_seconds() -> None:
    session, user = login()
    user.tokens_valid_from = ISSUED_AT + timedelta(seconds=1) - INSTANT

    assert is_valid_for(session, user, issued_at=ISSUED_AT)
    assert not is_valid_for(session, user, issued_at=ISSUED_AT - timedelta(seconds=1))


def test_the_sha256_of_a_refresh_token_is_stored() -> None:
    known = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

    assert refresh_hash("test") == known


def test_the_repr_of_a_new_session_hides_its_refresh_hash() -> None:
    assert "deadbeef" not in repr(NewSessionFactory.build(refresh_hash="deadbeef"))


def test_errors_have_the_details_of_the_contract() -> None:
    assert NotAuthenticated().detail == "Not authenticated"
    assert InvalidToken().detail == "Could not validate credentials"
    for error in (NotAuthenticated, InvalidToken, InvalidCredentials):
        assert issubclass(error, Unauthenticated)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_network_of_an_ipv6_address_is_its_64(ip: str | None, network: str) -> None:
    assert network_of(ip) == network


@pytest.mark.parametrize(
    ("ip", "site"),
    [
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("::ffff:192.0.2.1", None),
        ("192.0.2.1", None),
        ("a socket", None),
        ("", None),
        (None, None),
    ],
)
def test_the_site_of_an_ipv6_address_is_its_48(ip: str | None, site: str | None) -> None:
    assert site_of(ip) == site


TOKEN, NONCE = "the token", "the nonce"


def chain(**of_chain: object) -> RefreshChain:
    """Of a token that was rotated at `NOON`."""
    values: dict[str, Any] = {
        "current_hash": refresh_hash(successor(TOKEN, NONCE)),
        "nonce": NONCE,
        "rotated_at": NOON,
    }
    return RefreshChain(**values | of_chain)


@pytest.mark.parametrize(
    ("found", "token", "seconds", "is_answered"),
    [
        (chain(), TOKEN, 0, True),
        (chain(), TOKEN, -3, True),  # the clock of another machine is behind
        (chain(), TOKEN, 9.999, True),
        (chain(), TOKEN, 10, False),
        (chain(), "an older token", 0, False),
        (chain(nonce="the nonce of a later rotation"), TOKEN, 0, False),
        (chain(current_hash=refresh_hash("a later token")), TOKEN, 0, False),
        (chain(nonce=None), TOKEN, 0, False),
        (chain(rotated_at=None), TOKEN, 0, False),
    ],
)
def test_only_the_token_rotated_last_is_answered_again_within_the_grace(
    found: RefreshChain, token: str, seconds: float, is_answered: bool
) -> None:
    now = NOON + timedelta(seconds=seconds)

    answer = found.replay(token, grace=timedelta(seconds=10), now=now)

    assert answer == (successor(TOKEN, NONCE) if is_answered else None)


def test_a_successor_is_the_hmac_of_the_nonce_by_the_token() -> None:
    # RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?".
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    token = successor("Jefe", "what do ya want for nothing?")

    assert urlsafe_b64decode(token + "=").hex() == known


def test_the_repr_of_a_chain_hides_its_secrets() -> None:
    assert NONCE not in repr(chain())
