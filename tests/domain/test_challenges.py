from datetime import timedelta

import pytest

from domain.challenges import (
    CHALLENGE_LIFE,
    SecondFactorRequired,
    WrongSecondStep,
    challenge_hash,
    new_challenge,
)
from domain.factors import WrongCode
from domain.users import User
from tests.factories import UserFactory
from tests.fakes.clock import NOON

HASH = "a hash of a password"
INSTANT = timedelta(microseconds=1)


def anna() -> User:
    return UserFactory.build(tokens_valid_from=NOON - timedelta(days=1))


def test_a_challenge_is_valid_for_its_user_until_it_expires() -> None:
    user = anna()
    challenge = new_challenge(user, "a token", HASH, NOON)

    assert challenge.is_valid_for(user, HASH, NOON + CHALLENGE_LIFE - INSTANT)
    assert not challenge.is_valid_for(user, HASH, NOON + CHALLENGE_LIFE)
    assert not challenge.is_valid_for(anna(), HASH, NOON)


def test_a_challenge_ends_with_the_password() -> None:
    user = anna()

    assert not new_challenge(user, "a token", HASH, NOON).is_valid_for(user, "another", NOON)


@pytest.mark.parametrize("is_active_again", [False, True])
def test_a_challenge_ends_with_deactivation(is_active_again: bool) -> None:
    user = anna()
    challenge = new_challenge(user, "a token", HASH, NOON)
    user.administer(role=None, is_active=False, admins=[], now=NOON + INSTANT)
    user.is_active = is_active_again

    assert not challenge.is_valid_for(user, HASH, NOON + 2 * INSTANT)


def test_neither_token_nor_password_is_in_a_challenge() -> None:
    challenge = new_challenge(anna(), "a token", HASH, NOON)

    assert challenge.token_hash == challenge_hash("a token")
    assert "a token" not in f"{challenge.token_hash} {challenge.password_mark}"
    assert HASH not in challenge.password_mark


def test_what_is_required_is_told_with_the_challenge_and_nowhere_else() -> None:
    error = SecondFactorRequired("a token", ["totp"])

    assert error.members == {"challenge": "a token", "methods": ["totp"], "expires_in": 300}
    assert "a token" not in f"{error!r} {error} {error.detail}"


def test_a_wrong_second_step_has_the_code_of_a_wrong_code() -> None:
    assert WrongSecondStep.code == WrongCode.code == "wrong_code"
