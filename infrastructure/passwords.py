"""bcrypt over a peppered HMAC, in threads of its own.

bcrypt reads 72 bytes and stops at NUL; HMAC-SHA384 in base64 is 64 bytes without one, so every
character of a password counts, whatever its length.
"""

import asyncio
import hmac
import os
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import TypeVar

import bcrypt

from application.ports.passwords import PasswordHash
from domain.errors import Unavailable
from domain.passwords import normalized

_WAITING_PER_THREAD = 4

T = TypeVar("T")


class HashingBusy(Unavailable):
    detail = "Too many passwords are being checked at the moment"


class BcryptPasswords:
    """`cost` is bcrypt's, the base-2 logarithm of its rounds; `pepper` is a secret that is not in
    the database. One thread for every two cores: bcrypt takes a whole core and lets go of the GIL.
    """

    def __init__(self, *, cost: int, pepper: str = "") -> None:
        self._cost = cost
        self._pepper = pepper.encode()
        threads = max(1, len(os.sched_getaffinity(0)) // 2)
        self._executor = ThreadPoolExecutor(threads, "bcrypt")
        self._room = threads * (1 + _WAITING_PER_THREAD)
        # What an unknown user's password is compared with, at the same cost: no password's hash
        # that anybody could find.
        self._decoy = bcrypt.gensalt(cost) + b"." * 31

    async def hash(self, password: str) -> PasswordHash:
        return await self._aside(partial(self._hash, password))

    async def verify(self, password: str, known: PasswordHash | None) -> bool:
        return await self._aside(partial(self._verify, password, known))

    async def _aside(self, work: Callable[[], T]) -> T:
        if self._room == 0:
            raise HashingBusy
        self._room -= 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError:
            self._room += 1
            raise
        future.add_done_callback(self._make_room)
        return await future

    def _make_room(self, _: object) -> None:
        self._room += 1

    def _hash(self, password: str) -> PasswordHash:
        digest = bcrypt.hashpw(self._key(password), bcrypt.gensalt(self._cost))
        return PasswordHash(f"{self._pepper_id()}:{digest.decode()}")

    def _verify(self, password: str, known: PasswordHash | None) -> bool:
        pepper_id, _, digest = (known or "").partition(":")
        matches = bcrypt.checkpw(self._key(password), digest.encode() or self._decoy)
        return matches and pepper_id == self._pepper_id()

    def _key(self, password: str) -> bytes:
        # Half a surrogate pair is a character too, and some forms send one.
        text = normalized(password).encode(errors="surrogatepass")
        return b64encode(hmac.digest(self._pepper, text, "sha384"))

    def _pepper_id(self) -> str:
        """Names the pepper without telling it."""
        return sha256(b"gatepost pepper id" + self._pepper).hexdigest()[:8]
