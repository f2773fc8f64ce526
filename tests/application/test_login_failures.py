import pytest

from application.login_failures import LoginFailures
from application.ports.limits import Limit, TooManyRequests
from application.security_events import SecurityEvents
from domain.errors import Unavailable
from domain.users import UserId
from tests.fakes.ports import FakePorts

ANNA, EMAIL = UserId(7), "anna@example.com"


@pytest.fixture
def failures(ports: FakePorts) -> LoginFailures:
    ports.limits.quotas |= {Limit.LOGIN_FAILURES: 2, Limit.ACCOUNT_FAILURES: 3}
    events = SecurityEvents(limits=ports.limits, storage=ports.storage, clock=ports.clock)
    return LoginFailures(queries=ports.queries, limits=ports.limits, events=events)


async def fail(failures: LoginFailures, ip: str, user_id: UserId | None = ANNA) -> None:
    async with failures.attempt(EMAIL, user_id, ip) as attempt:
        attempt.has_failed = True


@pytest.mark.parametrize("user_id", [ANNA, None])
async def test_failures_are_limited_by_network_and_by_account(
    failures: LoginFailures, user_id: UserId | None
) -> None:
    for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        await fail(failures, ip, user_id)

    for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        with pytest.raises(TooManyRequests):
            await fail(failures, ip, user_id)


async def test_an_attempt_that_succeeds_or_breaks_off_is_not_counted(
    failures: LoginFailures,
) -> None:
    for _ in range(5):
        async with failures.attempt(EMAIL, ANNA, "192.0.2.1"):
            pass
        with pytest.raises(Unavailable):
            async with failures.attempt(EMAIL, ANNA, "192.0.2.1"):
                raise Unavailable


async def test_attempts_in_progress_are_counted(failures: LoginFailures) -> None:
    async with (
        failures.attempt(EMAIL, ANNA, "192.0.2.1"),
        failures.attempt(EMAIL, ANNA, "192.0.2.1"),
    ):
        with pytest.raises(TooManyRequests):
            await fail(failures, "192.0.2.1")


@pytest.mark.parametrize(("user_id", "subject"), [(ANNA, "user:7"), (None, "user:unknown")])
async def test_a_failure_is_in_the_audit_once_a_minute(
    ports: FakePorts, failures: LoginFailures, user_id: UserId | None, subject: str
) -> None:
    for _ in range(2):
        await fail(failures, "192.0.2.1", user_id)

    (entry,) = ports.storage.committed.events
    assert (entry.event.name, entry.event.subject) == ("login_failed", subject)
