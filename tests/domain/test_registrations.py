from datetime import timedelta
from hashlib import sha256

from domain.registrations import REGISTRATION_LIFETIME, NewRegistration, registration_hash
from tests.fakes.clock import NOON

NEW = NewRegistration(email="anna@example.com", name="Anna", requested_at=NOON)


def test_a_registration_is_over_a_day_after_the_request() -> None:
    pending = NEW.stored_as(7)

    assert not pending.is_over(NOON + REGISTRATION_LIFETIME - timedelta(microseconds=1))
    assert pending.is_over(NOON + REGISTRATION_LIFETIME)


def test_the_code_of_a_registration_is_hashed_for_this_purpose_alone() -> None:
    assert registration_hash("a code") == sha256(b"registration a code").hexdigest()
    assert NEW.stored_as(7).code_hash is None
