"""WebAuthn by hand, as a second opinion on the answers of py_webauthn, and stored passkeys."""

import json
from collections.abc import Collection
from copy import deepcopy
from hashlib import sha256
from typing import Any

import cbor2

from application.ports.passkeys import (
    Options,
    PasskeyChallenges,
    PasskeyQueries,
    PasskeyRepository,
    Passkeys,
)
from domain.passkeys import (
    Assertion,
    Attestation,
    AuthenticatorState,
    BadPasskey,
    Passkey,
    PasskeyChallenge,
    PasskeyKnown,
    VerifiedCredential,
    base64url,
    from_base64url,
)
from domain.users import User, UserId
from tests.fakes.storage import FakeRepository, FakeStorage, FakeUnitOfWork, New, State

EDDSA, ES256, RS256 = -8, -7, -257
ORIGIN = "http://localhost:8000"
PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
HEADER = 37
"""Bytes of authenticator data before the credential (section 6.1)."""


class FakePasskeys(Passkeys):
    def creation_options(
        self, challenge: bytes, user: User, user_handle: bytes, known: Collection[bytes]
    ) -> Options:
        return {
            "rp": {"id": "localhost", "name": "Fake"},
            "user": {"id": base64url(user_handle), "name": user.email, "displayName": "Fake"},
            "challenge": base64url(challenge),
            "pubKeyCredParams": [
                {"type": "public-key", "alg": each} for each in (EDDSA, ES256, RS256)
            ],
            "excludeCredentials": [{"type": "public-key", "id": base64url(id_)} for id_ in known],
            "authenticatorSelection": {
                "residentKey": "required",
                "userVerification": "required",
            },
            "attestation": "none",
        }

    def request_options(self, challenge: bytes) -> Options:
        return {
            "challenge": base64url(challenge),
            "rpId": "localhost",
            "userVerification": "required",
        }

    async def challenge_of(self, answer: Attestation | Assertion) -> bytes:
        try:
            return from_base64url(json.loads(answer.client_data)["challenge"])
        except Exception as error:  # parsers raise much
            raise BadPasskey from error

    async def verify_attestation(
        self, attestation: Attestation, challenge: bytes
    ) -> VerifiedCredential:
        try:
            _check_client_data(attestation.client_data, "webauthn.create", challenge)
            held = cbor2.loads(attestation.attestation_object)
            data: bytes = held["authData"]
            state = _state(data)
            size = int.from_bytes(data[HEADER + 16 : HEADER + 18])
            credential_id = data[HEADER + 18 : HEADER + 18 + size]
            public_key = data[HEADER + 18 + size :]
            _expect(data[32] & ATTESTED != 0)
            _expect(credential_id == attestation.credential_id)
            _expect(cbor2.dumps(cbor2.loads(public_key)) == public_key)
            signed = data + sha256(attestation.client_data).digest()
            if held["fmt"] == "packed":
                _expect(set(held["attStmt"]) == {"alg", "sig"})
                _verify(public_key, held["attStmt"]["sig"], signed)
            else:
                _expect((held["fmt"], held["attStmt"]) == ("none", {}))
                _verify(public_key, None, signed)
        except Exception as error:  # parsers raise much
            raise BadPasskey from error
        return VerifiedCredential(credential_id=credential_id, public_key=public_key, state=state)

    async def verify_assertion(
        self, assertion: Assertion, challenge: bytes, public_key: bytes
    ) -> AuthenticatorState:
        data = assertion.authenticator_data
        try:
            _check_client_data(assertion.client_data, "webauthn.get", challenge)
            _expect(len(data) == HEADER)
            signed = data + sha256(assertion.client_data).digest()
            _verify(public_key, assertion.signature, signed)
            return _state(data)
        except Exception as error:  # parsers raise much
            raise BadPasskey from error


def _expect(condition: object) -> None:
    if not condition:
        raise BadPasskey


def _check_client_data(client_data: bytes, type_: str, challenge: bytes) -> None:
    data = json.loads(client_data)
    _expect(data["type"] == type_)
    _expect(data["challenge"] == base64url(challenge))
    _expect(data["origin"] == ORIGIN)
    _expect(not data.get("crossOrigin") and "topOrigin" not in data)


def _state(data: bytes) -> AuthenticatorState:
    flags = data[32]
    _expect(data[:32] == sha256(b"localhost").digest())
    _expect(flags & PRESENT and flags & VERIFIED)
    _expect(flags & ELIGIBLE or not flags & BACKED_UP)
    return AuthenticatorState(
        sign_count=int.from_bytes(data[33:HEADER]),
        backup_eligible=bool(flags & ELIGIBLE),
        backed_up=bool(flags & BACKED_UP),
    )


def _verify(public_key: bytes, signature: bytes | None, signed: bytes) -> None:
    """Without a signature it looks at the key alone."""
    # Imported here, so that a unit test which needs no passkeys needs no cryptography.
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        SECP256R1,
        EllipticCurvePublicNumbers,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    key: dict[int, Any] = cbor2.loads(public_key)
    form = (key[1], key[3])
    if form == (1, EDDSA):
        _expect(key[-1] == 6)
        okp = Ed25519PublicKey.from_public_bytes(key[-2])
        if signature is not None:
            okp.verify(signature, signed)
    elif form == (2, ES256):
        _expect(key[-1] == 1)
        x, y = int.from_bytes(key[-2]), int.from_bytes(key[-3])
        ec = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        if signature is not None:
            ec.verify(signature, signed, ECDSA(SHA256()))
    elif form == (3, RS256):
        exponent = int.from_bytes(key[-2])
        rsa = RSAPublicNumbers(exponent, int.from_bytes(key[-1])).public_key()
        _expect(2048 <= rsa.key_size <= 4096 and exponent < 2**32)
        if signature is not None:
            rsa.verify(signature, signed, PKCS1v15(), SHA256())
    else:
        raise BadPasskey


class FakePasskeyQueries(PasskeyQueries):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def of_user(self, user_id: UserId) -> list[Passkey]:
        return _of_user(await self._storage.read(), user_id)

    async def owner(self, credential_id: bytes) -> User | None:
        state = await self._storage.read()
        for passkey in state.rows(Passkey).values():
            if passkey.credential_id == credential_id:
                return deepcopy(state.accounts[passkey.user_id].user)
        return None


class FakePasskeyRepository(FakeRepository[Passkey], PasskeyRepository):
    kind = Passkey

    async def add(self, new: New[Passkey]) -> Passkey:
        credential_id = new.stored_as(0).credential_id
        for passkey in (await self._uow.state()).rows(Passkey).values():
            if passkey.credential_id == credential_id:
                raise self._uow.refuse(PasskeyKnown)
        return await super().add(new)

    async def of_user(self, user_id: UserId) -> list[Passkey]:
        return _of_user(await self._uow.state(), user_id)

    async def remove_all(self, user_id: UserId) -> int:
        state = await self._uow.state()
        for challenge in list(state.rows(PasskeyChallenge).values()):
            if challenge.user_id == user_id:
                state.remove(PasskeyChallenge, challenge.challenge_hash)
        passkeys = _of_user(state, user_id)
        for passkey in passkeys:
            state.remove(Passkey, passkey.id)
        return len(passkeys)


def _of_user(state: State, user_id: UserId) -> list[Passkey]:
    rows = state.rows(Passkey).values()
    return [deepcopy(passkey) for passkey in rows if passkey.user_id == user_id]


class FakePasskeyChallenges(PasskeyChallenges):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, challenge: PasskeyChallenge) -> None:
        await self._uow.reach()
        self._uow.defer(lambda state: state.put(challenge.challenge_hash, challenge))

    async def consume(self, challenge_hash: str) -> PasskeyChallenge | None:
        return (await self._uow.state()).rows(PasskeyChallenge).pop(challenge_hash, None)
