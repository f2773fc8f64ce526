"""Access tokens of an outside OpenID provider: JWTs that are verified with the provider's keys."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from application.ports.storage import UnitOfWork
from application.ports.tokens import LEEWAY, Claims, ExternalClaims, Tokens
from domain.external_identities import ExternalIdentity
from infrastructure.tokens.provider_keys import ALGORITHMS, ProviderKeys
from infrastructure.tokens.verified import Genuine, VerifiedTokens, moment, parsed

TOKEN_MAX = 8192  # Characters: other providers put more into a token than we do.

_TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")

log = logging.getLogger("gatepost")


class _Registry(JWSRegistry):
    """Signatures by key pair alone, and no header that changes what a token means: RFC 7515,
    section 4.1.11, RFC 7797, and `enc` and `zip` of encrypted ones.

    joserfc itself refuses other spellings of base64url, headers over 512 characters, and algorithms
    that do not fit the key's kind, curve, `use` or `alg`.
    """

    def __init__(self) -> None:
        refused = {name: HeaderParameter(name, "none") for name in ("crit", "b64", "enc", "zip")}
        self._names = frozenset(name for names in ALGORITHMS.values() for name in names)
        super().__init__(refused, self._names, strict_check_header=False)

    def get_alg(self, name: str) -> JWSAlgModel:
        # Theirs warns of EdDSA at each token: RFC 9864 only gives it another name.
        if name not in self._names:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


_REGISTRY = _Registry()


class IssuerTokens(Tokens):
    """The token port on an outside provider, which issues; here tokens are only verified.

    Only the provider can end a token before it expires; deactivating or deleting its user here has
    the same effect. Why a token that the provider signed is refused is logged.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: ProviderKeys,
        email_verified_as_text: bool = False,
        remembered: int = 10_000,
    ) -> None:
        """`email_verified_as_text`: whether `email_verified: "true"` counts as true.
        `remembered`: number of tokens whose signature is checked only once.
        """
        self._issuer = issuer.removesuffix("/")
        self._audience = audience
        self._keys = keys
        self._email_verified_as_text = email_verified_as_text
        self._verified = VerifiedTokens[ExternalClaims](remembered)
        self._verified_with = 0

    @property
    def has_local_login(self) -> bool:
        return False

    @property
    def authorization_servers(self) -> Sequence[str]:
        return (self._issuer,)

    async def check(self) -> str | None:
        return await self._keys.check()

    async def close(self) -> None:
        await self._keys.close()

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        raise NotImplementedError("The provider issues the tokens")

    async def verify(self, token: str, now: datetime) -> ExternalClaims:
        """Raises `ProviderSilent` when it has no keys of the provider."""
        self._keys.refresh_stale(now)
        if self._verified_with != self._keys.changes:
            self._verified_with = self._keys.changes
            self._verified.clear()  # a withdrawn key may have verified some of them
        genuine = self._verified.get(token) or await self._read(token)
        return self._verified.accept(token, genuine, now)

    async def _read(self, token: str) -> Genuine[ExternalClaims] | None:
        """The claims of `token`, expired or not; None unless the provider signed it for us."""
        payload = await self._payload(token)
        if payload is None:
            return None
        try:
            return self._accept(parsed(payload))
        except ValueError as error:
            log.warning("A token of %s was refused: %s", self._issuer, error)
            return None

    async def _payload(self, token: str) -> bytes | None:
        """The signed part of `token`; None without a signature of the provider."""
        signature = _extracted(token)
        key = signature and await self._keys.get(signature.protected["kid"])
        return signature.payload if signature and key and _is_by(key, signature) else None

    def _accept(self, said: Mapping[str, object]) -> Genuine[ExternalClaims]:
        """Raises `ValueError` with the reason for claims that do not concern us."""
        issuer, audiences = said.get("iss"), said.get("aud")
        if isinstance(audiences, str):
            audiences = [audiences]
        # A final slash is a matter of spelling: who writes ISSUER seldom knows which the provider
        # uses. The provider's own counts, so that its users stay who they are.
        if not isinstance(issuer, str) or issuer.removesuffix("/") != self._issuer:
            raise ValueError("iss is not ISSUER")
        if not isinstance(audiences, list) or self._audience not in audiences:
            raise ValueError("aud does not name AUDIENCE")
        issued_at, expires_at = _moment(said, "iat"), _moment(said, "exp")
        starts_at = max(issued_at, _moment(said, "nbf") if "nbf" in said else issued_at)
        subject, name = said.get("sub"), said.get("name")
        # OpenID Connect Core 1.0, section 2: at most 255 characters.
        if (
            not isinstance(subject, str)
            or not 1 <= len(subject) <= 255
            or not subject.isprintable()
        ):
            raise ValueError("sub is not a string of 1 to 255 printable characters")
        identity = ExternalIdentity(
            issuer=issuer,
            subject=subject,
            verified_email=self._verified_email(said),
            name=name if isinstance(name, str) else None,
        )
        claims = ExternalClaims(identity=identity, issued_at=issued_at, expires_at=expires_at)
        return Genuine(claims, starts_at - LEEWAY)

    def _verified_email(self, said: Mapping[str, object]) -> str | None:
        email, verified = said.get("email"), said.get("email_verified")
        if verified == "true" and not self._email_verified_as_text:
            log.warning(
                "A token of %s has email_verified as text, which does not count:"
                " see GATEPOST_EMAIL_VERIFIED_TEXT",
                self._issuer,
            )
        is_verified = verified is True or (verified == "true" and self._email_verified_as_text)
        return email if isinstance(email, str) and is_verified else None


def _extracted(token: str) -> jws.CompactSignature | None:
    """The unverified parts of a token that has a `kid`; None for any other text."""
    if len(token) > TOKEN_MAX:
        return None
    try:
        signature = jws.extract_compact(token.encode(), registry=_REGISTRY)
        _REGISTRY.check_header(signature.protected)
        is_ours = signature.protected.get("typ", "JWT").lower() in _TYPES
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return signature if is_ours and "kid" in signature.protected else None


def _is_by(key: Key, signature: jws.CompactSignature) -> bool:
    try:
        return jws.validate_compact(signature, key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return False


def _moment(said: Mapping[str, object], claim: str) -> datetime:
    try:
        return moment(said.get(claim))
    except ValueError as error:
        raise ValueError(f"{claim} is {error}") from None
