from datetime import timedelta

import pytest

from domain.one_time_codes import LIFETIMES, Purpose, code_hash, may_be_mailed, new_code
from tests.factories import UserFactory
from tests.fakes.clock import NOON


@pytest.mark.parametrize("purpose", Purpose)
def test_a_code_admits_to_the_account_of_its_user_until_it_expires(purpose: Purpose) -> None:
    anna, bert = UserFactory.build(), UserFactory.build()
    code = new_code(anna, purpose, "token", NOON)

    end = NOON + LIFETIMES[purpose]
    assert code.is_valid_for(anna, end - timedelta(microseconds=1))
    assert not code.is_valid_for(anna, end)
    assert not code.is_valid_for(bert, NOON)
    anna.is_active = False
    assert not code.is_valid_for(anna, NOON)


def test_what_is_stored_of_a_token_depends_on_its_purpose_and_does_not_tell_it() -> None:
    hashes = {code_hash(token, purpose) for token in ("a token", "another") for purpose in Purpose}

    assert len(hashes) == 4
    assert not any("token" in hash_ for hash_ in hashes)
    code = new_code(UserFactory.build(), Purpose.VERIFICATION, "a token", NOON)
    assert code.code_hash == code_hash("a token", Purpose.VERIFICATION)
    assert code.code_hash not in repr(code)


@pytest.mark.parametrize(
    ("is_active", "is_verified", "purposes"),
    [
        (True, False, {*Purpose}),
        (True, True, {Purpose.PASSWORD_RESET}),
        (False, False, set()),
        (False, True, set()),
    ],
)
def test_codes_are_for_active_users_and_verification_for_unverified_ones(
    is_active: bool, is_verified: bool, purposes: set[Purpose]
) -> None:
    user = UserFactory.build(is_active=is_active, is_verified=is_verified)

    assert {purpose for purpose in Purpose if may_be_mailed(purpose, user)} == purposes
