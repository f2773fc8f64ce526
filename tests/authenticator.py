"""A software authenticator with the part of a browser that WebAuthn needs.

It makes passkeys and signs with them as Web Authentication Level 3, section 6.3, says. `Flaws` let
it, or the page that it is asked by, misbehave in one way at a time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256

from domain.passkeys import Assertion, Attestation, base64url, from_base64url

Json = Mapping[str, Any]
Key = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

EDDSA, ES256, RS256 = -8, -7, -257
LOCALHOST = "http://localhost:8000"


@dataclass(frozen=True, kw_only=True)
class Flaws:
    """What is not as it should be; None leaves it as it should be."""

    type: str | None = None
    challenge: bytes | None = None
    origin: str | None = None
    cross_origin: bool = False
    top_origin: str | None = None
    rp_id: str | None = None
    is_present: bool = True
    is_verified: bool = True
    backup: tuple[bool, bool] = (True, True)
    """Whether the credential is eligible for backup, and is backed up."""
    sign_count: int | None = None
    signature: bytes | None = None
    signs: Key | None = None
    """Another key than the credential's."""
    algorithm: int | None = None
    """What the new key claims to be for."""
    format: str = "none"
    statement: Json = field(default_factory=dict)
    certificate: bytes | None = None
    """Of the key that signs the attestation, in DER."""
    without_credential: bool = False
    credential_id: bytes | None = None
    user_handle: bytes | None = None
    without_user_handle: bool = False
    behind: bytes = b""
    """Bytes after the authenticator data."""


NO_FLAWS = Flaws()


def new_key(algorithm: int) -> Key:
    if algorithm == EDDSA:
        return Ed25519PrivateKey.generate()
    return generate_rsa_key(65537, 2048) if algorithm == RS256 else ec_key(SECP256R1())


def ec_key(curve: EllipticCurve) -> EllipticCurvePrivateKey:
    return generate_private_key(curve)


@dataclass(kw_only=True)
class SoftwareAuthenticator:
    """Has at most one credential. It counts its signatures if `counts`."""

    origin: str = LOCALHOST
    algorithm: int = ES256
    counts: bool = True
    key: Key = field(init=False, repr=False)
    credential_id: bytes = field(default_factory=lambda: token_bytes(32))
    user_handle: bytes = b""
    sign_count: int = 0

    def __post_init__(self) -> None:
        self.key = new_key(self.algorithm)

    def create(self, options: Json, flaws: Flaws = NO_FLAWS) -> Attestation:
        """`navigator.credentials.create()`."""
        self.user_handle = from_base64url(options["user"]["id"])
        client_data = self._client_data("webauthn.create", options, flaws)
        data = self._authenticator_data(options["rp"]["id"], flaws)
        if not flaws.without_credential:
            data[32] |= 0x40
            data += bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id
            data += cbor2.dumps(self.cose_key(flaws.algorithm or self.algorithm))
        data += flaws.behind
        statement = dict(flaws.statement)
        if flaws.format == "packed" and not statement:
            signature = self._sign(bytes(data) + sha256(client_data).digest(), flaws)
            statement = {"alg": self.algorithm, "sig": signature}
            if flaws.certificate:
                statement["x5c"] = [flaws.certificate]
        attestation = {"fmt": flaws.format, "attStmt": statement, "authData": bytes(data)}
        return Attestation(
            credential_id=flaws.credential_id or self.credential_id,
            client_data=client_data,
            attestation_object=cbor2.dumps(attestation),
        )

    def get(self, options: Json, flaws: Flaws = NO_FLAWS) -> Assertion:
        """`navigator.credentials.get()`."""
        self.sign_count += self.counts
        client_data = self._client_data("webauthn.get", options, flaws)
        data = bytes(self._authenticator_data(options["rpId"], flaws)) + flaws.behind
        handle = None if flaws.without_user_handle else flaws.user_handle or self.user_handle
        return Assertion(
            credential_id=flaws.credential_id or self.credential_id,
            client_data=client_data,
            authenticator_data=data,
            signature=self._sign(data + sha256(client_data).digest(), flaws),
            user_handle=handle,
        )

    def cose_key(self, algorithm: int) -> dict[int, object]:
        """The public key (RFC 9053, section 7; RFC 8230, section 4)."""
        key = self.key
        if isinstance(key, Ed25519PrivateKey):
            return {1: 1, 3: algorithm, -1: 6, -2: key.public_key().public_bytes_raw()}
        if isinstance(key, RSAPrivateKey):
            numbers = key.public_key().public_numbers()
            return {1: 3, 3: algorithm, -1: _bytes(numbers.n), -2: _bytes(numbers.e)}
        point, size = key.public_key().public_numbers(), (key.curve.key_size + 7) // 8
        curve = {"secp256r1": 1, "secp384r1": 2}[key.curve.name]
        x, y = point.x.to_bytes(size), point.y.to_bytes(size)
        return {1: 2, 3: algorithm, -1: curve, -2: x, -3: y}

    def _client_data(self, type_: str, options: Json, flaws: Flaws) -> bytes:
        data = {
            "type": flaws.type or type_,
            "challenge": base64url(flaws.challenge) if flaws.challenge else options["challenge"],
            "origin": flaws.origin or self.origin,
            "crossOrigin": flaws.cross_origin,
        }
        if flaws.top_origin:
            data["topOrigin"] = flaws.top_origin
        return json.dumps(data).encode()

    def _authenticator_data(self, rp_id: str, flaws: Flaws) -> bytearray:
        eligible, backed_up = flaws.backup
        flags = flaws.is_present << 0 | flaws.is_verified << 2 | eligible << 3 | backed_up << 4
        count = self.sign_count if flaws.sign_count is None else flaws.sign_count
        party = sha256((flaws.rp_id or rp_id).encode()).digest()
        return bytearray(party + bytes([flags]) + count.to_bytes(4))

    def _sign(self, data: bytes, flaws: Flaws) -> bytes:
        key = flaws.signs or self.key
        if flaws.signature is not None:
            return flaws.signature
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(data)
        if isinstance(key, RSAPrivateKey):
            return key.sign(data, PKCS1v15(), SHA256())
        return key.sign(data, ECDSA(SHA256()))


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def attestation_json(attestation: Attestation) -> dict[str, Any]:
    """`PublicKeyCredential.toJSON()` of a new credential (section 5.1.8)."""
    return _json(
        attestation.credential_id,
        clientDataJSON=base64url(attestation.client_data),
        attestationObject=base64url(attestation.attestation_object),
        transports=["internal"],
    )


def assertion_json(assertion: Assertion) -> dict[str, Any]:
    """`PublicKeyCredential.toJSON()` of a login (section 5.1.8)."""
    handle = assertion.user_handle
    return _json(
        assertion.credential_id,
        clientDataJSON=base64url(assertion.client_data),
        authenticatorData=base64url(assertion.authenticator_data),
        signature=base64url(assertion.signature),
        **({} if handle is None else {"userHandle": base64url(handle)}),
    )


def _json(credential_id: bytes, **response: object) -> dict[str, Any]:
    return {
        "id": base64url(credential_id),
        "rawId": base64url(credential_id),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": response,
    }
