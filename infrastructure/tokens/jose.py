"""Signed access tokens: JWTs (RFC 7519) with the profile of RFC 9068, on python-jose.

python-jose only makes and checks signatures. Headers, encoding and claims are checked here: its own
checks of claims read the system's clock instead of `now` and accept a missing claim.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jws
from jose.backends.base import Key

# Imported by name, so that the start fails without `cryptography`: `jose.backends` would silently
# fall back to slower code that is not constant in time.
from jose.backends.cryptography_backend import (
    CryptographyECKey,
    CryptographyHMACKey,
    CryptographyRSAKey,
)
from jose.exceptions import JOSEError
from jose.utils import base64url_encode

from application.ports.storage import UnitOfWork
from application.ports.tokens import LEEWAY, Claims, Tokens
from domain.sessions import SessionId
from domain.users import UserId
from infrastructure.tokens.verified import Genuine, VerifiedTokens, moment, parsed
from infrastructure.tokens.weak_secrets import weakness

TOKEN_MAX = 4096  # Characters. Ours have about 300, with RS256 630, with ES256 380.

_LAST_ID = 2**63 - 1
_ID = re.compile(r"[1-9][0-9]{0,18}")

# RFC 7515, section 2: base64url without padding. The last character's unused bits must be zero (RFC
# 4648, section 3.5), so that no token has a second spelling.
_BASE64URL = r"(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?"
PAYLOAD_AND_SIGNATURE = re.compile(rf"{_BASE64URL}\.{_BASE64URL}", re.ASCII)

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class UnfitKey(ValueError):
    """A key that must not sign tokens. The text says why and does not contain the key."""


class _LowS(CryptographyECKey):
    """ECDSA without malleable signatures: of (r, s) and (r, -s), only the lower s verifies."""

    def sign(self, msg: bytes) -> bytes:
        signature: bytes = super().sign(msg)  # type: ignore[no-untyped-call]
        s = int.from_bytes(signature[32:], "big")
        return signature[:32] + min(s, _P256_ORDER - s).to_bytes(32, "big")

    def verify(self, msg: bytes, sig: bytes) -> bool:
        low = int.from_bytes(sig[32:], "big") <= _P256_ORDER // 2
        return low and bool(super().verify(msg, sig))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigningKey:
    """A key fit to sign tokens, made by `hs256_key` or `jwk_key`. Its repr contains no secret."""

    kid: str
    """The JWK's own, or else derived from the key by a one-way function."""

    algorithm: str
    signer: Key = field(repr=False)
    verifier: Key = field(repr=False)
    public: Mapping[str, str] | None
    """The public JWK (RFC 7517); None for a symmetric key."""


def hs256_key(secret: bytes) -> SigningKey:
    """A key for HMAC from secret random bytes. Raises `UnfitKey`."""
    if reason := weakness(secret):
        raise UnfitKey(f"The secret is {reason}")
    try:
        key = CryptographyHMACKey(secret, "HS256")
    except JOSEError:
        raise UnfitKey("The secret is an asymmetric key") from None
    # Cannot be the signature of a token: those are made over a text with a dot.
    kid = base64url_encode(hmac.digest(secret, b"Gatepost kid", "sha256")[:12]).decode()
    return SigningKey(kid=kid, algorithm="HS256", signer=key, verifier=key, public=None)


def jwk_key(jwk: Mapping[str, str]) -> SigningKey:
    """A key from a private JWK (RFC 7517): RSA from 2048 bits signs RS256, P-256 signs ES256.

    It keeps its `kid`; one without gets its thumbprint (RFC 7638). Raises `UnfitKey`.
    """
    try:
        is_rsa = jwk["kty"] == "RSA"
        algorithm = "RS256" if is_rsa else "ES256"
        signer: Any = (CryptographyRSAKey if is_rsa else _LowS)(dict(jwk), algorithm)
        verifier, private = signer.public_key(), signer.prepared_key
        # RFC 7518, sections 3.3 and 3.4.
        strong = private.key_size >= 2048 if is_rsa else private.curve.name == "secp256r1"
        meant = jwk.get("alg", algorithm) == algorithm and jwk.get("use", "sig") == "sig"
        fit = strong and meant and verifier.verify(b"", signer.sign(b""))
    except Exception:  # noqa: BLE001  python-jose raises nearly any, some with the key in the text
        fit = False
    if not fit:
        raise UnfitKey("A JWK can't sign tokens: RSA from 2048 bits or P-256, private, is needed")
    public = verifier.to_dict()
    kid = own_kid(jwk) or _thumbprint(public)
    public |= {"kid": kid, "use": "sig"}
    return SigningKey(kid=kid, algorithm=algorithm, signer=signer, verifier=verifier, public=public)


def own_kid(jwk: Mapping[str, object]) -> str | None:
    """The `kid` of a JWK (RFC 7517, section 4.5), None if it has none.

    Raises `UnfitKey` unless it has 1 to 255 characters, all printable.
    """
    kid = jwk.get("kid")
    if kid is None:
        return None
    if not isinstance(kid, str) or not 1 <= len(kid) <= 255 or not kid.isprintable():
        raise UnfitKey("A JWK's kid must be a string of 1 to 255 printable characters")
    return kid


def _thumbprint(public: Mapping[str, str]) -> str:
    """RFC 7638, section 3, of a public JWK with no members but the required ones and `alg`."""
    members = {name: value for name, value in public.items() if name != "alg"}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return base64url_encode(hashlib.sha256(canonical).digest()).decode()


def new_jwk(algorithm: str) -> dict[str, str]:
    """A new private JWK for "RS256" or "ES256"."""
    if algorithm == "RS256":
        key: Any = CryptographyRSAKey(rsa.generate_private_key(65537, 2048), algorithm)
    else:
        key = CryptographyECKey(ec.generate_private_key(ec.SECP256R1()), algorithm)
    return dict(key.to_dict())


class JoseTokens(Tokens):
    """The token port on python-jose: the last key signs, all of them verify."""

    def __init__(
        self, keys: Sequence[SigningKey], *, issuer: str, audience: str, remembered: int = 10_000
    ) -> None:
        """Raises `UnfitKey` for no key at all and for the same one twice.

        `remembered`: number of tokens whose signature is checked only once.
        """
        if not keys or len({key.kid for key in keys}) < len(keys):
            raise UnfitKey("Tokens need a key, and each key once")
        self._newest = keys[-1]
        self._all = tuple(keys)
        self._issuer = issuer
        self._audience = audience
        # The headers that we write. A token must begin with one of them to the letter, so no other
        # header is ever parsed: no other `alg` or `typ` (RFC 8725, sections 3.1 and 3.11), no
        # `crit`, `b64` or `zip` (RFC 7515, section 4.1.11; RFC 7797), no duplicate names, no
        # nesting, no excessive length.
        self._by_header = {self._sign(b"", key).partition(".")[0]: key for key in keys}
        self._verified = VerifiedTokens[Claims](remembered)

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:  # noqa: ARG002  nothing is stored
        said = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(claims.user_id),
            # A string as `sub` is: JavaScript would round a number beyond 53 bits.
            "sid": str(claims.session_id),
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
            "jti": secrets.token_urlsafe(16),
        }
        return self._sign(json.dumps(said, separators=(",", ":")).encode(), self._newest)

    async def verify(self, token: str, now: datetime) -> Claims:
        genuine = self._verified.get(token) or self._read(token)
        return self._verified.accept(token, genuine, now)

    @property
    def public_keys(self) -> Sequence[Mapping[str, str]]:
        """The public halves of all asymmetric keys."""
        return [key.public for key in self._all if key.public is not None]

    def _sign(self, payload: bytes, key: SigningKey) -> str:
        headers = {"kid": key.kid, "typ": "at+jwt"}  # RFC 9068, section 2.1
        token: str = jws.sign(payload, key.signer, headers=headers, algorithm=key.algorithm)
        return token

    def _read(self, token: str) -> Genuine[Claims] | None:
        """The claims of `token`, valid now or not; None unless we signed it."""
        header, _, rest = token[: TOKEN_MAX + 1].partition(".")
        key = self._by_header.get(header)
        if len(token) > TOKEN_MAX or key is None or not PAYLOAD_AND_SIGNATURE.fullmatch(rest):
            return None
        try:
            payload: bytes = jws.verify(token, key.verifier, [key.algorithm])
            return self._accept(parsed(payload))
        except (JOSEError, ValueError):
            return None

    def _accept(self, said: Mapping[str, object]) -> Genuine[Claims]:
        """The claims in a payload. Raises `ValueError` where they differ from what we issue.

        `nbf` is honoured although we never set it; other claims are ignored (RFC 7519, section 4).
        """
        issued_at, expires_at = moment(said.get("iat")), moment(said.get("exp"))
        starts_at = max(issued_at, moment(said.get("nbf", 0)))
        named = said.get("iss") == self._issuer and said.get("aud") == self._audience
        jti = said.get("jti")
        if not named or not isinstance(jti, str) or not jti or starts_at >= expires_at:
            raise ValueError
        claims = Claims(
            user_id=UserId(_id(said.get("sub"))),
            session_id=SessionId(_id(said.get("sid"))),
            issued_at=issued_at,
            expires_at=expires_at,
        )
        return Genuine(claims, starts_at - LEEWAY)


def _id(value: object) -> int:
    # Without sign, spaces and leading zeros: one id has one spelling.
    if not isinstance(value, str) or not _ID.fullmatch(value) or int(value) > _LAST_ID:
        raise ValueError
    return int(value)
