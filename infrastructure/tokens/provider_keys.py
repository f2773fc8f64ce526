"""The public keys of an OpenID provider: fetched by one request for all who wait, then kept."""

import asyncio
import logging
import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from application.outages import ProviderSilent
from application.ports.clock import Clock

AGAIN = timedelta(minutes=1)
"""The pause between two fetches, counted from the end of the first."""
FIRST_AGAIN = timedelta(seconds=1)
"""The pause while there are no keys at all."""
STALE = timedelta(hours=1)
"""The age at which keys are fetched again: a key that the provider withdrew dies by then."""

ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "PS256"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "Ed25519": ("EdDSA", "Ed25519"),  # RFC 8037, and RFC 9864 by its newer name
}
"""The algorithms that a key may verify, by its `crv`, or by its `kty` if it has none."""

_PUBLIC = ("kty", "n", "e", "crv", "x", "y", "kid", "alg")

log = logging.getLogger("gatepost")


class _Unusable(Exception):
    """An answer of the provider that can't be used; the text says why."""


class ProviderKeys:
    """While the provider is down, the keys in hand stay in use.

    A fetch is bounded by one timeout over all its requests, in seconds, and shared: whoever needs
    it waits for the one that is running. `changes` counts the successful ones.
    """

    def __init__(
        self,
        *,
        issuer: str,
        jwks_url: str | None,
        https_only: bool,
        clock: Clock,
        timeout: float = 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`jwks_url` None: where the discovery document says (OpenID Connect Discovery 1.0,
        section 4); with `https_only` that must be https.
        """
        self._issuer = issuer.removesuffix("/")
        self._jwks_url = jwks_url
        self._https_only = https_only
        self._clock = clock
        self._timeout = timeout
        self._transport = transport
        self._keys: Mapping[str, Key] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._fetching: asyncio.Task[str | None] | None = None
        self.changes = 0

    async def get(self, kid: str) -> Key | None:
        """The key of this name; None when the provider has none. Raises `ProviderSilent` when there
        are no keys at all.
        """
        if kid not in self._keys and (fetching := self._fetch_soon()):
            # The others who wait for it are not cancelled with this request.
            await asyncio.shield(fetching)
        if not self._keys:
            raise ProviderSilent
        return self._keys.get(kid)

    def refresh_stale(self, now: datetime) -> None:
        """Start a fetch in the background if the keys are old."""
        if self._fetched_at and now - self._fetched_at >= STALE:
            self._fetch_soon()

    async def check(self) -> str | None:
        """Fetch the keys now. What is wrong with the provider, or None."""
        problem = await self._fetch()
        return problem and f"no keys from the provider: {problem}"

    async def close(self) -> None:
        if self._fetching:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _fetch_soon(self) -> "asyncio.Task[str | None] | None":
        """The fetch that is running, perhaps since now; None within the pause after the last."""
        if self._fetching is None or self._fetching.done():
            pause = AGAIN if self._keys else FIRST_AGAIN
            if self._tried_at and self._clock() - self._tried_at < pause:
                return None
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> str | None:
        """Replace the keys, or keep them and say why."""
        problem = None
        try:
            async with asyncio.timeout(self._timeout):
                self._keys = await self._answer()
        except _Unusable as error:
            problem = str(error)
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:  # TimeoutError among them
            problem = type(error).__name__
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            problem = "its answer is no JWK set or no discovery document"
        finally:
            self._tried_at = self._clock()
        if problem:
            log.warning("No keys from %s: %s", self._issuer, problem)
        else:
            self._fetched_at = self._tried_at
            self.changes += 1
        return problem

    async def _answer(self) -> Mapping[str, Key]:
        async with httpx.AsyncClient(timeout=None, transport=self._transport) as client:  # noqa: S113  there is one around it all
            url = self._jwks_url or await self._discover(client)
            answer = (await client.get(url)).raise_for_status().json()
        keys = {jwk["kid"]: key for jwk in answer["keys"] if (key := _usable_key(jwk))}
        if not keys:
            raise _Unusable("it has no key that can be used")
        return keys

    async def _discover(self, client: httpx.AsyncClient) -> str:
        url = f"{self._issuer}/.well-known/openid-configuration"
        document = (await client.get(url)).raise_for_status().json()
        # OpenID Connect Discovery 1.0, section 4.3; a final slash is a matter of spelling.
        if document["issuer"].removesuffix("/") != self._issuer:
            raise _Unusable("its discovery document names another issuer")
        jwks_uri: str = document["jwks_uri"]
        if self._https_only and not jwks_uri.startswith("https://"):
            raise _Unusable("its jwks_uri is not https")
        return jwks_uri


def _usable_key(jwk: Mapping[str, Any]) -> Key | None:
    """None for a key that is not for signatures, or of a kind or strength that is refused."""
    try:
        algorithms = ALGORITHMS[jwk.get("crv", jwk["kty"])]
        if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithms[0]) not in algorithms:
            return None
        public = {name: jwk[name] for name in _PUBLIC if name in jwk}
        with warnings.catch_warnings(action="ignore"):  # of weak keys, which are refused below
            key = JWKRegistry.import_key(public)
    except Exception:  # noqa: BLE001  joserfc lets out whatever `cryptography` raises
        return None
    if isinstance(key, RSAKey):
        # RFC 7518, section 3.3.
        return key if key.public_key.key_size >= 2048 and key.kid else None
    return key if isinstance(key, ECKey | OKPKey) and key.kid else None
