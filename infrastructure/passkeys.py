"""Passkeys of one relying party: options, and what is verified before py_webauthn is asked."""

import asyncio
import json
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from application.ports.passkeys import Options, Passkeys
from domain.passkeys import (
    CHALLENGE_LIFE,
    Assertion,
    Attestation,
    AuthenticatorState,
    BadPasskey,
    VerifiedCredential,
    base64url,
    from_base64url,
)
from domain.users import User

ALGORITHMS = (-8, -7, -257)
"""EdDSA, ES256 and RS256 (RFC 9053, RFC 8812), the preferred one first."""
SITE_NAME = "Gatepost"
_TIMEOUT = int(CHALLENGE_LIFE.total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """A site whose pages create and use passkeys."""

    id: str
    """Its host, which passkeys are bound to."""
    origin: str | None
    """Scheme, host and port of its pages. None: any port of this host, by http too."""

    def accepts(self, origin: object) -> bool:
        if self.origin is not None:
            return origin == self.origin
        try:
            parts = urlsplit(origin) if isinstance(origin, str) else None
        except ValueError:
            return False
        return parts is not None and parts.hostname == self.id and parts.scheme in _SCHEMES


_SCHEMES = ("http", "https")


def relying_party(public_url: str | None, *, in_production: bool) -> RelyingParty | None:
    """The relying party of the site at this origin; None if no browser makes passkeys for it.

    Without a site it is `localhost` in development, where any port may serve the pages. The id of
    a relying party is a domain, so a site at an IP address has none.
    """
    if public_url is None:
        return None if in_production else RelyingParty("localhost", None)
    host = urlsplit(public_url).hostname or ""
    is_address = ":" in host or host.rpartition(".")[2].isdigit()
    return None if is_address else RelyingParty(host, public_url)


class WebAuthnPasskeys(Passkeys):
    """Refuses answers from a page in a frame of another origin as well, which py_webauthn accepts.

    py_webauthn is imported at the first answer, in a thread: that takes a quarter of a second.
    """

    def __init__(self, relying_party: RelyingParty) -> None:
        self._party = relying_party

    def creation_options(
        self, challenge: bytes, user: User, user_handle: bytes, known: Collection[bytes]
    ) -> Options:
        return {
            "rp": {"id": self._party.id, "name": SITE_NAME},
            "user": {
                "id": base64url(user_handle),
                "name": user.email,
                "displayName": user.name or user.email,
            },
            "challenge": base64url(challenge),
            "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in ALGORITHMS],
            "timeout": _TIMEOUT,
            "excludeCredentials": [{"type": "public-key", "id": base64url(id_)} for id_ in known],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }

    def request_options(self, challenge: bytes) -> Options:
        return {
            "challenge": base64url(challenge),
            "timeout": _TIMEOUT,
            "rpId": self._party.id,
            "userVerification": "required",
        }

    async def challenge_of(self, answer: Attestation | Assertion) -> bytes:
        await _load()  # before the caller opens a transaction
        with _refusing():
            return from_base64url(_client_data(answer)["challenge"])

    async def verify_attestation(
        self, attestation: Attestation, challenge: bytes
    ) -> VerifiedCredential:
        await _load()
        from infrastructure.ceremonies import verify_attestation

        with _refusing():
            origin = self._origin(attestation)
            return verify_attestation(
                attestation, challenge, ALGORITHMS, rp_id=self._party.id, origin=origin
            )

    async def verify_assertion(
        self, assertion: Assertion, challenge: bytes, public_key: bytes
    ) -> AuthenticatorState:
        await _load()
        from infrastructure.ceremonies import verify_assertion

        with _refusing():
            origin = self._origin(assertion)
            return verify_assertion(
                assertion, challenge, public_key, rp_id=self._party.id, origin=origin
            )

    def _origin(self, answer: Attestation | Assertion) -> str:
        """The origin of the page. Raises `BadPasskey` unless it is the relying party's."""
        data = _client_data(answer)
        is_framed = data.get("crossOrigin", False) is not False or "topOrigin" in data
        if is_framed or not self._party.accepts(data["origin"]):
            raise BadPasskey
        return str(data["origin"])


async def _load() -> None:
    if "webauthn" not in sys.modules:
        await asyncio.to_thread(import_module, "infrastructure.ceremonies")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the parsers of py_webauthn and cbor2 raise
        raise BadPasskey from error


def _client_data(answer: Attestation | Assertion) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(answer.client_data.decode())
    return data
