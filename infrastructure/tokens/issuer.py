"""Access tokens of an outside OpenID provider: JWTs that are verified with the provider's keys.

The keys are fetched when they are first needed, then kept. They are asked for again when a token
names one that is not known, once a minute at the most and by one request for all, and aside when
they are an hour old. While the provider is down, the keys in hand go on.
"""

import asyncio
import logging
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from jose import jws
from jose.backends.base import Key
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyRSAKey
from jose.exceptions import JOSEError

from application.ports.storage import UnitOfWork
from application.ports.tokens import LEEWAY, Claims, ExternalClaims, Tokens
from domain.errors import Unavailable
from domain.external_identities import ExternalIdentity
from domain.sessions import InvalidToken
from infrastructure.tokens.jose import BASE64URL, moment, parsed

TOKEN_MAX = 8192  # Characters: other providers put more into a token than we do.

AGAIN = timedelta(minutes=1)
"""The least time between two requests for keys."""
STALE = timedelta(hours=1)
"""The age at which keys are looked at again: one that the provider took back dies by then."""

_FIRST_AGAIN = timedelta(seconds=1)  # while there are none at all
_TOKEN = re.compile(rf"{BASE64URL}\.{BASE64URL}\.{BASE64URL}", re.ASCII)
_TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")

# RFC 7515, section 4.1.11 and RFC 7797: what changes the meaning of a token and is not understood
# here. An encrypted one says `enc`.
_NOT_UNDERSTOOD = {"crit", "b64", "zip", "enc"}

log = logging.getLogger("gatepost")


class ProviderSilent(Unavailable):
    detail = "The provider of tokens does not answer"


@dataclass(frozen=True, slots=True)
class _ProviderKey:
    algorithm: str
    verifier: Key


@dataclass(frozen=True, slots=True)
class _Genuine:
    """A token that the provider signed for us, valid from `valid_from` until its claims expire."""

    claims: ExternalClaims
    valid_from: datetime


class IssuerTokens(Tokens):
    """The token port on an outside provider, which issues; here tokens are only verified.

    A token's session is its own life: nobody but the provider can end it, except by deactivating
    or deleting the user here.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str | None,
        timeout: float = 2.0,
        remembered: int = 10_000,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`jwks_url` None: where the provider's discovery document says (OpenID Connect Discovery
        1.0, section 4). `timeout`: seconds for an answer of the provider. `remembered`: of so
        many tokens the signature is checked only once.
        """
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._timeout = timeout
        self._transport = transport
        self._keys: Mapping[str, _ProviderKey] = {}
        self._fetched_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._asking = asyncio.Lock()
        self._remembered: OrderedDict[str, _Genuine] = OrderedDict()
        self._room = remembered
        self._in_thread: asyncio.Task[None] | None = None

    @property
    def has_local_login(self) -> bool:
        return False

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        raise NotImplementedError("The provider issues the tokens")

    async def verify(self, token: str, now: datetime) -> ExternalClaims:
        self._look_again_aside(now)
        genuine = self._remembered.get(token) or await self._read(token, now)
        if genuine is None or not genuine.valid_from <= now < genuine.claims.expires_at:
            self._remembered.pop(token, None)
            raise InvalidToken
        self._remembered[token] = genuine
        self._remembered.move_to_end(token)
        if len(self._remembered) > self._room:
            self._remembered.popitem(last=False)
        return genuine.claims

    async def _read(self, token: str, now: datetime) -> _Genuine | None:
        """What `token` says, whatever the time is; None when it is not our issuer's for us."""
        kid = _key_named_in(token)
        key = None if kid is None else await self._key(kid, now)
        if key is None:
            return None
        try:
            # The key says by which algorithm it verifies, never the token (RFC 8725, section 3.1).
            return self._accept(parsed(jws.verify(token, key.verifier, [key.algorithm])))
        except (JOSEError, ValueError):
            return None

    def _accept(self, said: Mapping[str, Any]) -> _Genuine:
        """Raises `ValueError` for claims that are not of our issuer and for us."""
        audiences = said.get("aud")
        if isinstance(audiences, str):
            audiences = [audiences]
        for_us = isinstance(audiences, list) and self._audience in audiences
        if said.get("iss") != self._issuer or not for_us:
            raise ValueError
        issued_at, expires_at = moment(said.get("iat")), moment(said.get("exp"))
        starts_at = max(issued_at, moment(said.get("nbf", 0)))
        subject, email, name = (said.get(claim) for claim in ("sub", "email", "name"))
        # OpenID Connect Core 1.0, section 2: at most 255 characters.
        if (
            not isinstance(subject, str)
            or not 1 <= len(subject) <= 255
            or not subject.isprintable()
        ):
            raise ValueError
        is_verified = isinstance(email, str) and said.get("email_verified") is True
        identity = ExternalIdentity(
            issuer=self._issuer,
            subject=subject,
            verified_email=email if is_verified else None,
            name=name if isinstance(name, str) else None,
        )
        claims = ExternalClaims(identity=identity, issued_at=issued_at, expires_at=expires_at)
        return _Genuine(claims, starts_at - LEEWAY)

    async def _key(self, kid: str, now: datetime) -> _ProviderKey | None:
        """Raises `ProviderSilent` when there are no keys at all."""
        if kid not in self._keys:
            await self._ask(now)
        if not self._keys:
            raise ProviderSilent
        return self._keys.get(kid)

    def _look_again_aside(self, now: datetime) -> None:
        """Have stale keys asked for, while requests go on with those in hand."""
        if self._fetched_at is None or self._asked_at is None:
            return
        is_due = now - self._fetched_at >= STALE and now - self._asked_at >= AGAIN
        if is_due and (self._in_thread is None or self._in_thread.done()):
            self._in_thread = asyncio.create_task(self._ask(now))

    async def _ask(self, now: datetime) -> None:
        """Ask for the keys, unless somebody has just done so. Those in hand stay on a failure."""
        async with self._asking:
            pause = AGAIN if self._keys else _FIRST_AGAIN
            if self._asked_at is not None and now - self._asked_at < pause:
                return
            try:
                keys = await self._fetch()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, LookupError) as error:
                log.warning("No keys from %s: %s", self._issuer, type(error).__name__)
            else:
                self._keys, self._fetched_at = keys, now
                self._remembered.clear()  # a key that is gone has verified some of it
            self._asked_at = now

    async def _fetch(self) -> Mapping[str, _ProviderKey]:
        async with httpx.AsyncClient(timeout=self._timeout, transport=self._transport) as client:
            url = self._jwks_url or await self._discover(client)
            answer = (await client.get(url)).raise_for_status().json()
        keys = {jwk["kid"]: key for jwk in answer["keys"] if (key := _provider_key(jwk))}
        if not keys:
            raise ValueError("no key that can be used")
        return keys

    async def _discover(self, client: httpx.AsyncClient) -> str:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = (await client.get(url)).raise_for_status().json()
        # OpenID Connect Discovery 1.0, section 4.3.
        if document["issuer"] != self._issuer:
            raise ValueError("another issuer")
        return str(document["jwks_uri"])


def _key_named_in(token: str) -> str | None:
    """The name of the key; None for a token of a form that we don't understand."""
    if len(token) > TOKEN_MAX or not _TOKEN.fullmatch(token):
        return None
    header = token.partition(".")[0]
    try:
        said = parsed(urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except ValueError:
        return None
    kid, type_ = said.get("kid"), said.get("typ", "JWT")
    if _NOT_UNDERSTOOD & said.keys() or not isinstance(kid, str):
        return None
    if not isinstance(type_, str) or type_.lower() not in _TYPES:
        return None
    return kid


_BY_TYPE = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384"}


def _provider_key(jwk: Mapping[str, Any]) -> _ProviderKey | None:
    """None for a key that is not for signatures, or of a kind or strength that is not taken."""
    try:
        is_rsa = jwk["kty"] == "RSA"
        algorithm = _BY_TYPE[jwk["kty"] if is_rsa else jwk["crv"]]
        if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
            return None
        public = {name: jwk[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in jwk}
        key: Any = (CryptographyRSAKey if is_rsa else CryptographyECKey)(public, algorithm)
        # RFC 7518, section 3.3.
        strong = not is_rsa or key.prepared_key.key_size >= 2048
        return _ProviderKey(algorithm, key) if strong and isinstance(jwk["kid"], str) else None
    except Exception:  # noqa: BLE001  python-jose's reader lets out nearly any
        return None
