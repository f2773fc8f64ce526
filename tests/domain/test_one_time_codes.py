from datetime import timedelta
from typing import Any

import pytest

from domain.one_time_codes import LIFETIMES, Purpose, code_hash, new_code, recipient
from tests.factories import UserFactory
from tests.fakes.clock import NOON


@pytest.mark.parametrize("purpose", Purpose)
def test_a_code_is_valid_for_its_user_until_it_expires(purpose: Purpose) -> None:
    anna, bert = UserFactory.build(), UserFactory.build()
    code = new_code(anna, purpose, anna.email, "token", NOON)

    end = NOON + LIFETIMES[purpose]
    assert code.is_valid_for(anna, end - timedelta(microseconds=1))
    assert not code.is_valid_for(anna, end)
    assert not code.is_valid_for(bert, NOON)
    anna.is_active = False
    assert not code.is_valid_for(anna, NOON)


def test_the_stored_hash_depends_on_the_purpose_and_hides_the_token() -> None:
    hashes = {code_hash(token, purpose) for token in ("a token", "another") for purpose in Purpose}

    assert len(hashes) == 2 * len(Purpose)
    assert not any("token" in hash_ for hash_ in hashes)
    code = new_code(UserFactory.build(), Purpose.VERIFICATION, "a@example.com", "a token", NOON)
    assert code.code_hash == code_hash("a token", Purpose.VERIFICATION)
    assert code.code_hash not in repr(code)


def test_a_change_of_address_invalidates_codes_except_undo_codes() -> None:
    anna = UserFactory.build(email="new@example.com", pending_email="next@example.com")

    def is_valid(purpose: Purpose, email: str) -> bool:
        return new_code(anna, purpose, email, "token", NOON).is_valid_for(anna, NOON)

    for purpose in (Purpose.VERIFICATION, Purpose.PASSWORD_RESET):
        assert is_valid(purpose, "new@example.com")
        assert not is_valid(purpose, "old@example.com")
    assert is_valid(Purpose.VERIFICATION, "next@example.com")
    assert is_valid(Purpose.EMAIL_CHANGE_UNDO, "old@example.com")


OWN, PENDING, OTHER = "Anna@example.com", "next@example.com", "other@example.com"
VERIFICATION, RESET, UNDO = Purpose


@pytest.mark.parametrize(
    ("purpose", "email", "changes", "expected"),
    [
        (RESET, "anna@EXAMPLE.com", {}, OWN),
        (RESET, OTHER, {}, None),
        (RESET, PENDING, {"pending_email": PENDING}, None),
        (VERIFICATION, OWN, {}, OWN),
        (VERIFICATION, OWN, {"is_verified": True}, None),
        (VERIFICATION, OTHER, {}, None),
        (VERIFICATION, PENDING, {"pending_email": PENDING, "is_verified": True}, PENDING),
        (UNDO, OWN, {"pending_email": PENDING}, OWN),
        (UNDO, OTHER, {}, OTHER),
        (UNDO, OWN, {}, None),
        (RESET, OWN, {"is_active": False}, None),
        (VERIFICATION, OWN, {"is_active": False}, None),
        (UNDO, OTHER, {"is_active": False}, None),
    ],
)
def test_a_code_is_only_mailed_to_an_address_that_can_use_it(
    purpose: Purpose, email: str, changes: dict[str, Any], expected: str | None
) -> None:
    user = UserFactory.build(email=OWN, **changes)

    assert recipient(purpose, email, user) == expected
