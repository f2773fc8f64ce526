"""The file of signing keys: a private JWK set (RFC 7517, section 5), newest key last."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jose.utils import base64url_decode, base64url_encode

from infrastructure.tokens.jose import (
    SigningKey,
    UnfitKey,
    hs256_key,
    jwk_key,
    new_jwk,
    own_kid,
)


@dataclass(frozen=True, slots=True)
class KeptKey:
    key: SigningKey
    jwk: Mapping[str, Any] = field(repr=False)

    @property
    def made(self) -> int | None:
        """The member `iat` in seconds since 1970; None if it is missing."""
        made = self.jwk.get("iat")
        return made if isinstance(made, int) else None


def read(path: Path) -> list[KeptKey]:
    """The keys in the file.

    Raises `UnfitKey` with the reason if the file cannot be read, is accessible to other users, or
    is no JWK set, if a key is not fit to sign, or if two keys have the same `kid`.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except OSError as error:
        raise UnfitKey(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise UnfitKey(f"{path}: other users can access it; restrict it to its owner (chmod 600)")
    try:
        kept = [KeptKey(_key(jwk), jwk) for jwk in json.loads(text)["keys"]]
    except UnfitKey as error:
        raise UnfitKey(f"{path}: {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UnfitKey(f"{path}: it is no JWK set") from None
    kids = [entry.key.kid for entry in kept]
    if twice := [kid for kid in kids if kids.count(kid) > 1]:
        raise UnfitKey(f"{path}: two keys have the kid {twice[0]}")
    return kept


def signing(kept: Sequence[KeptKey], algorithm: str) -> KeptKey | None:
    """The signing key: the newest one for `algorithm`. None if there is none."""
    return next((entry for entry in reversed(kept) if entry.key.algorithm == algorithm), None)


def listed(path: Path, algorithm: str) -> list[dict[str, str | None]]:
    """The public attributes of each key: `kid`, `algorithm`, `made` (ISO 8601, UTC, or None) and
    `use`, which is `signs` or `verifies`. Raises `UnfitKey` as `read` does.
    """
    kept = read(path)
    signer = signing(kept, algorithm)
    return [
        {
            "kid": entry.key.kid,
            "algorithm": entry.key.algorithm,
            "made": datetime.fromtimestamp(entry.made, UTC).isoformat() if entry.made else None,
            "use": "signs" if entry is signer else "verifies",
        }
        for entry in kept
    ]


def add(path: Path, algorithm: str, now: datetime) -> SigningKey:
    """Generate a key for `algorithm` and append it to the file, which is created if necessary.

    Raises `UnfitKey` as `read` does.
    """
    kept = read(path) if path.exists() else []
    jwk: dict[str, Any]
    if algorithm == "HS256":
        jwk = {"kty": "oct", "k": base64url_encode(secrets.token_bytes(32)).decode()}
    else:
        jwk = dict(new_jwk(algorithm))
    key = _key(jwk)
    jwk |= {"alg": algorithm, "use": "sig", "kid": key.kid, "iat": int(now.timestamp())}
    _write(path, [*kept, KeptKey(key, jwk)])
    return key


def retire(path: Path, kid: str, algorithm: str) -> None:
    """Remove a key from the file.

    Raises `UnfitKey` as `read` does, and if there is no such key or it is the signing key.
    """
    kept = read(path)
    signer = signing(kept, algorithm)
    if signer and signer.key.kid == kid:
        raise UnfitKey(f"{kid} signs; make another key first, with `gatepost keys new`")
    left = [entry for entry in kept if entry.key.kid != kid]
    if len(left) == len(kept):
        raise UnfitKey(f"{path}: there is no key {kid}")
    _write(path, left)


def _key(jwk: Mapping[str, Any]) -> SigningKey:
    if jwk.get("kty") != "oct":
        return jwk_key(jwk)
    key = hs256_key(base64url_decode(str(jwk["k"]).encode()))
    return replace(key, kid=own_kid(jwk) or key.kid)


def _write(path: Path, kept: list[KeptKey]) -> None:
    """Replace the file atomically, with mode 0600."""
    text = json.dumps({"keys": [dict(entry.jwk) for entry in kept]}, indent=2)
    try:
        with TemporaryDirectory(dir=path.parent, prefix=path.name) as directory:
            file = Path(directory, path.name)
            file.touch(mode=0o600)
            with file.open("w") as opened:
                opened.write(text + "\n")
                opened.flush()
                os.fsync(opened.fileno())
            file.replace(path)
    except OSError as error:
        raise UnfitKey(f"{path}: {error.strerror}") from None
