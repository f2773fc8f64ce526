"""Keys of a provider that is slow, silent or wrong."""

import asyncio
from typing import Any

import httpx
import pytest

from application.outages import ProviderSilent
from infrastructure.tokens.provider_keys import FIRST_AGAIN, ProviderKeys
from tests.fakes.clock import FakeClock
from tests.infrastructure.test_issuer import ISSUER, rsa_key

ALL_OF_IT = 0.05
"""Seconds that a fetch may take."""


class HangingProvider:
    """Answers nothing until `answers` is set, and counts what it was asked for."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[str] = []
        self.discovery: Any = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.keys: Any = {"keys": [rsa_key("a").as_dict(private=False)]}
        self.clock = FakeClock()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        await self.answers.wait()
        is_discovery = request.url.path == "/.well-known/openid-configuration"
        return httpx.Response(200, json=self.discovery if is_discovery else self.keys)

    def client(self, *, https_only: bool = True, timeout: float = ALL_OF_IT) -> ProviderKeys:
        return ProviderKeys(
            issuer=ISSUER,
            jwks_url=None,
            https_only=https_only,
            clock=self.clock,
            timeout=timeout,
            transport=httpx.MockTransport(self),
        )


@pytest.fixture
def provider() -> HangingProvider:
    return HangingProvider()


async def test_concurrent_requests_share_one_fetch(
    provider: HangingProvider,
) -> None:
    keys = provider.client()

    answers = await asyncio.gather(*(keys.get("a") for _ in range(20)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {ProviderSilent}
    assert len(provider.asked) == 1


async def test_one_timeout_covers_discovery_and_keys_together(provider: HangingProvider) -> None:
    slow = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        provider.asked.append(request.url.path)
        if request.url.path == "/keys":
            await slow.wait()
        return httpx.Response(200, json=provider.discovery)

    keys = ProviderKeys(
        issuer=ISSUER,
        jwks_url=None,
        https_only=True,
        clock=provider.clock,
        timeout=ALL_OF_IT,
        transport=httpx.MockTransport(answer),
    )

    with pytest.raises(ProviderSilent):
        await keys.get("a")
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_the_pause_is_counted_from_the_end_of_a_fetch(provider: HangingProvider) -> None:
    keys = provider.client()
    waiting = asyncio.create_task(keys.get("a"))
    await asyncio.sleep(0)
    provider.clock.advance(10 * FIRST_AGAIN)  # while the fetch hangs
    with pytest.raises(ProviderSilent):
        await waiting

    for _ in range(5):
        with pytest.raises(ProviderSilent):
            await keys.get("a")
    assert len(provider.asked) == 1

    provider.answers.set()
    provider.clock.advance(FIRST_AGAIN)
    assert await keys.get("a")


async def test_a_cancelled_request_does_not_cancel_the_shared_fetch(
    provider: HangingProvider,
) -> None:
    keys = provider.client(timeout=20)
    first, second = (asyncio.create_task(keys.get("a")) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.wait([first])
    provider.answers.set()

    assert await second
    assert len(provider.asked) == 2  # discovery and keys, once


async def test_closing_cancels_a_fetch_in_flight(provider: HangingProvider) -> None:
    keys = provider.client(timeout=20)
    waiting = asyncio.create_task(keys.get("a"))
    await asyncio.sleep(0)

    await keys.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("https_only", [True, False])
async def test_a_discovered_address_must_be_https_in_production(
    provider: HangingProvider, https_only: bool
) -> None:
    provider.answers.set()
    provider.discovery["jwks_uri"] = "http://provider.test/keys"
    keys = provider.client(https_only=https_only)

    problem = await keys.check()

    if https_only:
        assert problem == "no keys from the provider: its jwks_uri is not https"
        assert "/keys" not in provider.asked
    else:
        assert problem is None


@pytest.mark.parametrize(
    ("discovery", "answer", "problem"),
    [
        (None, {"keys": []}, "it has no key that can be used"),
        (None, {"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}, "it has no key"),
        (None, [], "its answer is no JWK set"),
        (None, {"keys": {"a": 1}}, "it has no key"),
        (None, None, "its answer is no JWK set"),
        ([], None, "its answer is no JWK set or no discovery document"),
        ({"issuer": 7}, None, "its answer is no JWK set or no discovery document"),
        ({"issuer": ISSUER}, None, "its answer is no JWK set or no discovery document"),
        ({"issuer": ISSUER, "jwks_uri": 7}, None, "its answer is no JWK set or no"),
        ({"issuer": "https://evil.test"}, None, "its discovery document names another issuer"),
    ],
)
async def test_an_unusable_response_is_reported(
    provider: HangingProvider,
    discovery: object,
    answer: object,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.answers.set()
    provider.discovery = provider.discovery if discovery is None else discovery
    provider.keys = answer

    assert (await provider.client().check() or "").startswith(
        f"no keys from the provider: {problem}"
    )
    assert problem in caplog.text


async def test_a_provider_that_answers_has_no_problem(provider: HangingProvider) -> None:
    provider.answers.set()

    assert await provider.client().check() is None
