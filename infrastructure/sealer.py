"""Encryption of secrets at rest, by AES-256-GCM (NIST SP 800-38D)."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.ports.sealer import Sealer

_NONCE_BYTES = 12
_SHORTEST = _NONCE_BYTES + 16
"""Bytes of a nonce and a tag."""


class AesGcmSealer(Sealer):
    """`keys` of 32 bytes each, the newest first.

    Nonces are random: a key may seal 2**32 secrets (SP 800-38D, section 8.3).
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def seal(self, secret: str, context: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, secret.encode(), context.encode())
        return urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, context: str) -> str | None:
        try:
            raw = urlsafe_b64decode(sealed.encode("ascii"))
        except ValueError:
            return None
        if len(raw) < _SHORTEST:
            return None
        nonce, encrypted = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, encrypted, context.encode()).decode()
            except InvalidTag:
                continue
        return None
