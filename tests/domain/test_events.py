from domain.events import Event
from domain.users import UserId
from tests.fakes.clock import NOON


def test_an_event_has_the_details_that_are_named() -> None:
    event = Event.of("role_changed", "user:7", actor_id=UserId(1), at=NOON, role="admin")

    assert event == Event(
        name="role_changed",
        subject="user:7",
        actor_id=UserId(1),
        at=NOON,
        details={"role": "admin"},
    )
