"""The contract of limits."""

import asyncio
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from application.ports.clock import Clock
from application.ports.limits import (
    SITE_QUOTAS,
    Hit,
    Limit,
    Limits,
    LimitStatus,
    TooManyRequests,
    account_hit,
    network_hits,
)
from infrastructure.clock import system_clock
from infrastructure.limits import FIXED_RATES, ProcessLimits, Rate, SharedLimits, rate
from tests.fakes.clock import FakeClock
from tests.fakes.limits import FakeLimits
from tests.valkey import ValkeyServer, running_valkey

QUOTA = 3
RATES = dict.fromkeys(Limit, Rate(QUOTA, 60)) | {Limit.RESETS: Rate(1, 1)}
KEY = b"k" * 32
WRITE = Hit(Limit.WRITES, "7")
RESET = Hit(Limit.RESETS, "192.0.2.1")


class Subject(ABC):
    limits: Limits

    @abstractmethod
    async def pass_second(self) -> None: ...


class FakeSubject(Subject):
    def __init__(self) -> None:
        self.limits = self._fake = FakeLimits({limit: rate.quota for limit, rate in RATES.items()})

    async def pass_second(self) -> None:
        self._fake.pass_window()


class ProcessSubject(Subject):
    def __init__(self) -> None:
        self._clock = FakeClock()
        self.limits = ProcessLimits(RATES, self._clock)

    async def pass_second(self) -> None:
        self._clock.advance(timedelta(seconds=1))


class SharedSubject(Subject):
    def __init__(self, limits: SharedLimits) -> None:
        self.limits = limits

    async def pass_second(self) -> None:
        await asyncio.sleep(1.05)


@asynccontextmanager
async def shared(
    server: ValkeyServer,
    *,
    rates: Mapping[Limit, Rate] = RATES,
    clock: Clock = system_clock,
    key: bytes = KEY,
) -> AsyncIterator[SharedLimits]:
    limits = SharedLimits(rates, clock, url=server.url, key=key)
    yield limits
    await limits.close()


@pytest.fixture(params=["fake", "process", "shared"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield FakeSubject()
    elif request.param == "process":
        yield ProcessSubject()
    else:
        async with shared(request.getfixturevalue("valkey")) as limits:
            yield SharedSubject(limits)


@pytest.fixture
def limits(subject: Subject) -> Limits:
    return subject.limits


async def exceeded(limits: Limits, *uses: Hit) -> LimitStatus:
    with pytest.raises(TooManyRequests) as refusal:
        await limits.hit(*uses)
    assert refusal.value.retry_after == refusal.value.status.resets_in
    return refusal.value.status


async def test_a_quota_is_counted_down_and_then_refused(limits: Limits) -> None:
    remaining = [(await limits.hit(WRITE))[0].remaining for _ in range(QUOTA)]

    assert remaining == [2, 1, 0]
    refused = await exceeded(limits, WRITE)
    assert (refused.limit, refused.quota, refused.window) == (Limit.WRITES, QUOTA, 60)
    assert refused.remaining == 0
    assert 59 <= refused.resets_in <= 60


async def test_a_refusal_names_the_hit_that_was_refused(limits: Limits) -> None:
    failure = Hit(Limit.LOGIN_FAILURES, "a", subject="user:7")
    for _ in range(QUOTA):
        await limits.hit(failure)

    with pytest.raises(TooManyRequests) as refusal:
        await limits.hit(Hit(Limit.LOGINS, "a"), failure)

    assert refusal.value.hit == failure
    assert refusal.value.hit.subject == "user:7"


async def test_keys_and_limits_are_counted_separately(limits: Limits) -> None:
    for _ in range(QUOTA):
        await limits.hit(WRITE)

    await limits.hit(Hit(Limit.WRITES, "8"))
    await limits.hit(Hit(Limit.LOGINS, "7"))
    await exceeded(limits, WRITE)


async def test_the_quota_is_available_again_after_the_window(subject: Subject) -> None:
    (standing,) = await subject.limits.hit(RESET)
    await exceeded(subject.limits, RESET)

    assert standing.resets_in == standing.window
    await subject.pass_second()

    await subject.limits.hit(RESET)
    await exceeded(subject.limits, RESET)


async def test_a_hit_that_one_limit_refuses_is_counted_by_none(limits: Limits) -> None:
    login, failure = Hit(Limit.LOGINS, "a"), Hit(Limit.LOGIN_FAILURES, "a")
    for _ in range(QUOTA):
        await limits.hit(failure)

    for uses in [(login, failure), (failure, login)] * QUOTA:
        assert (await exceeded(limits, *uses)).limit is Limit.LOGIN_FAILURES

    assert (await limits.hit(login))[0].remaining == QUOTA - 1


async def test_a_key_may_have_several_quotas(limits: Limits) -> None:
    site = Hit(Limit.WRITES, "2001:db8::/48", quotas=2)

    remaining = [(await limits.hit(site))[0].remaining for _ in range(2 * QUOTA)]

    assert remaining == [5, 4, 3, 2, 1, 0]
    assert (await exceeded(limits, site)).quota == 2 * QUOTA


async def test_statuses_are_in_the_order_of_the_hits(limits: Limits) -> None:
    login, failure = Hit(Limit.LOGINS, "a"), Hit(Limit.LOGIN_FAILURES, "a")
    await limits.hit(failure)

    limit_statuses = await limits.hit(login, failure)

    assert [(standing.limit, standing.remaining) for standing in limit_statuses] == [
        (Limit.LOGINS, 2),
        (Limit.LOGIN_FAILURES, 1),
    ]


async def test_a_released_hit_is_not_counted(limits: Limits) -> None:
    for _ in range(3 * QUOTA):
        await limits.hit(WRITE)
        await limits.release(WRITE)

    assert (await limits.hit(WRITE))[0].remaining == QUOTA - 1


async def test_a_refused_hit_does_not_extend_the_window(limits: Limits) -> None:
    for _ in range(QUOTA):
        await limits.hit(WRITE)
    for _ in range(2 * QUOTA):
        await exceeded(limits, WRITE)

    await limits.release(WRITE)

    await limits.hit(WRITE)


async def test_concurrent_hits_do_not_exceed_the_quota(limits: Limits) -> None:
    answers = await asyncio.gather(
        *(limits.hit(WRITE) for _ in range(10 * QUOTA)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, TooManyRequests)]
    assert len(refused) == len(answers) - QUOTA


@pytest.mark.parametrize("key", ["", "Zoë \U0001f512", "half a pair \ud800", "x" * 5000])
async def test_any_text_is_a_key(limits: Limits, key: str) -> None:
    use = account_hit(Limit.LOGIN_FAILURES, key)
    for _ in range(QUOTA):
        await limits.hit(use)

    await exceeded(limits, use)


# In one process


async def test_a_window_starts_with_its_first_hit_and_ends_in_whole_seconds() -> None:
    clock = FakeClock()
    limits = ProcessLimits(RATES, clock)

    async def resets_in() -> int:
        return (await limits.hit(WRITE))[0].resets_in

    assert await resets_in() == 60
    clock.advance(timedelta(seconds=58, milliseconds=900))
    assert await resets_in() == 2
    clock.advance(timedelta(seconds=1))
    assert await resets_in() == 1
    assert (await exceeded(limits, WRITE)).resets_in == 1
    clock.advance(timedelta(milliseconds=100))
    assert await resets_in() == 60


def windows_of(limits: Limits) -> int:
    (reading,) = limits.readings()
    return reading.read()


async def test_expired_windows_are_forgotten() -> None:
    clock = FakeClock()
    limits = ProcessLimits(RATES, clock)

    for number in range(1000):
        await limits.hit(Hit(Limit.WRITES, str(number)))
        clock.advance(timedelta(seconds=1))

    assert windows_of(limits) <= 61


async def test_a_restarted_window_is_not_forgotten() -> None:
    clock = FakeClock()
    limits = ProcessLimits(RATES, clock)
    others = [Hit(Limit.WRITES, str(number)) for number in range(100, 104)]
    for use in (*others, WRITE):
        await limits.hit(use)
    clock.advance(timedelta(seconds=30))
    await limits.hit(Hit(Limit.WRITES, "later"))
    clock.advance(timedelta(seconds=30))
    for _ in range(QUOTA):
        await limits.hit(WRITE)
    ends = [window.ends_at for window in limits._windows[Limit.WRITES].values()]
    assert ends == sorted(ends)

    for use in others:
        await limits.hit(use)

    await exceeded(limits, WRITE)


async def test_a_limit_without_a_rate_has_no_status() -> None:
    limits = ProcessLimits(FIXED_RATES, FakeClock())

    assert [list(await limits.hit(WRITE)) for _ in range(200)] == [[]] * 200
    await limits.release(WRITE)


# In a Redis or Valkey


async def test_processes_share_their_counts(valkey: ValkeyServer) -> None:
    async with shared(valkey) as one, shared(valkey) as two:
        for _ in range(QUOTA):
            await one.hit(WRITE)

        await exceeded(two, WRITE)
        await two.release(WRITE)
        await one.hit(WRITE)


async def test_a_changed_rate_starts_a_new_count(valkey: ValkeyServer) -> None:
    async with (
        shared(valkey) as before,
        shared(valkey, rates=dict.fromkeys(Limit, Rate(5, 60))) as now,
    ):
        for _ in range(QUOTA):
            await before.hit(WRITE)

        assert (await now.hit(WRITE))[0].remaining == 4


async def test_the_store_contains_no_address_and_every_key_expires(valkey: ValkeyServer) -> None:
    async with shared(valkey) as limits, shared(valkey, key=b"x" * 32) as stranger:
        uses = [
            account_hit(Limit.LOGIN_FAILURES, "anna@example.com", "192.0.2.1"),
            account_hit(Limit.ACCOUNT_FAILURES, "anna@example.com"),
            Hit(Limit.LOGINS, "192.0.2.1"),
        ]
        await limits.hit(*uses)
        await limits.release(*uses, *uses)
        await stranger.hit(uses[0])

    with valkey.client() as client:
        names = client.keys("*")
        assert len(names) == 4
        for name in names:
            assert b"example" not in name
            assert b"192" not in name
            assert 0 < client.ttl(name) <= 60


async def test_retry_after_is_not_too_soon(valkey: ValkeyServer) -> None:
    """Valkey tells whole seconds, rounded: 1.4 of them must not become 1."""
    loop = asyncio.get_running_loop()
    async with shared(valkey, rates=dict.fromkeys(Limit, Rate(1, 2))) as limits:
        await limits.hit(WRITE)
        ends_at = loop.time() + 2
        await asyncio.sleep(0.6)

        refused = await exceeded(limits, WRITE)

        assert loop.time() + refused.resets_in >= ends_at


async def test_while_valkey_is_down_the_process_counts_and_logs_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    with running_valkey() as server:
        async with shared(server, clock=clock) as limits:
            for _ in range(QUOTA):
                await limits.hit(WRITE)
            server.stop()

            for _ in range(QUOTA):
                await limits.hit(WRITE)
                clock.advance(timedelta(seconds=2))
            await exceeded(limits, WRITE)
            await limits.release(WRITE)
            await limits.hit(WRITE)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert "is down" in caplog.text

            server.start()
            clock.advance(timedelta(seconds=2))
            assert (await limits.hit(WRITE))[0].remaining == QUOTA - 1
            assert len(caplog.records) == 2
            assert "is back" in caplog.text
            with server.client() as client:
                assert len(client.keys("*")) == 1


async def test_a_silent_valkey_delays_one_request_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    clock = FakeClock()
    released = asyncio.Event()

    async def say_nothing(_: object, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = SharedLimits(RATES, clock, url=f"redis://127.0.0.1:{port}", key=KEY)

    async def waited(key: int) -> bool:
        started = loop.time()
        await limits.hit(Hit(Limit.WRITES, str(key)))
        return loop.time() - started > 0.2

    assert await waited(0)
    assert not await waited(1)
    clock.advance(timedelta(seconds=1))
    assert (await asyncio.gather(*map(waited, range(2, 20)))).count(True) == 1
    assert len(caplog.records) == 1
    released.set()
    await limits.close()
    server.close()
    await server.wait_closed()


# What only the process's own counting has


async def test_a_window_that_counts_nothing_is_forgotten() -> None:
    limits = ProcessLimits(RATES, FakeClock())
    hits = [Hit(Limit.LOGIN_FAILURES, str(number)) for number in range(100)]

    for hit in hits:
        await limits.hit(hit)
    assert windows_of(limits) == 100
    await limits.release(*hits)
    await limits.release(Hit(Limit.LOGIN_FAILURES, "never counted"))

    assert windows_of(limits) == 0


async def test_a_refused_hit_leaves_no_window_behind() -> None:
    limits = ProcessLimits(RATES, FakeClock())
    for _ in range(QUOTA):
        await limits.hit(WRITE)

    for number in range(100):
        await exceeded(limits, Hit(Limit.LOGINS, str(number)), WRITE)

    assert windows_of(limits) == 1


async def test_the_number_of_windows_of_a_limit_is_bounded() -> None:
    limits = ProcessLimits(RATES, FakeClock(), windows_max=10)
    for number in range(30):
        await limits.hit(Hit(Limit.LOGINS, str(number)))
    await limits.hit(WRITE)

    assert windows_of(limits) == 11
    kept, forgotten = Hit(Limit.LOGINS, "20"), Hit(Limit.LOGINS, "0")
    assert (await limits.hit(kept))[0].remaining == QUOTA - 2
    assert (await limits.hit(forgotten))[0].remaining == QUOTA - 1


async def test_a_long_key_takes_no_more_memory_than_a_short_one() -> None:
    limits = ProcessLimits(RATES, FakeClock())
    size = 100_000

    tracemalloc.start()
    for number in range(50):
        await limits.hit(Hit(Limit.LOGIN_FAILURES, f"{number}" + "x" * size))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert used < size
    assert windows_of(limits) == 50


def test_an_ipv6_client_counts_by_its_network_and_by_its_site() -> None:
    assert network_hits(Limit.LOGINS, "2001:db8:1:2::7") == [
        Hit(Limit.LOGINS, "2001:db8:1:2::/64"),
        Hit(Limit.LOGINS, "2001:db8:1::/48", quotas=SITE_QUOTAS),
    ]
    for ip in ("192.0.2.1", "::ffff:192.0.2.1"):
        assert network_hits(Limit.LOGINS, ip) == [Hit(Limit.LOGINS, "192.0.2.1")]
    assert network_hits(Limit.LOGINS, None) == [Hit(Limit.LOGINS, "")]


# Settings


@pytest.mark.parametrize(
    ("text", "quota", "window"),
    [
        ("10/minute", 10, 60),
        ("100 per hour", 100, 3600),
        ("5/2hours", 5, 7200),
        ("1/second", 1, 1),
        ("1000/day", 1000, 86_400),
    ],
)
def test_a_rate_has_the_notation_of_the_limits_package(text: str, quota: int, window: int) -> None:
    assert rate(text) == Rate(quota, window)


@pytest.mark.parametrize(
    "text", ["", "10", "10/fortnight", "0/minute", "-1/minute", "1/minute;2/hour", "1/2000 years"]
)
def test_an_invalid_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must (be one limit|allow 1 to)"):
        rate(text)
