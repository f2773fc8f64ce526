"""bcrypt over a peppered HMAC.

bcrypt reads at most 72 bytes and stops at NUL. HMAC-SHA384 in base64 is 64 bytes without NUL, so
every character of a password counts, whatever its length.
"""

import hmac
import logging
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from hashlib import sha256

import bcrypt

from application.ports.adapter import Reading
from application.ports.passwords import SOMEBODY, PasswordHash, Passwords, Requester
from domain.passwords import PASSWORD_INPUT_MAX, normalized
from infrastructure.hashing_queue import HashingQueue

PEPPER_ID_LENGTH = 8

log = logging.getLogger("gatepost")


class BcryptPasswords(Passwords):
    """`cost` is the base-2 logarithm of bcrypt's rounds. `peppers` are secrets outside of the
    database, the newest first; new hashes are made with that one. `threads` hash in parallel.
    """

    def __init__(self, *, cost: int, peppers: Sequence[str] = ("",), threads: int = 1) -> None:
        self._cost = cost
        self._peppers = {pepper_id(pepper): pepper.encode() for pepper in peppers}
        self._newest = next(iter(self._peppers))
        self._reported: set[str] = set()
        """Ids of unknown peppers that have been logged."""
        self._queue = HashingQueue(threads=threads, seconds=6e-5 * 2**cost)
        # The password of an unknown user is verified against this, at the same cost. Nobody can
        # find a password for it.
        self._decoy = bcrypt.gensalt(cost) + b"." * 31

    async def hash(self, password: str, requester: Requester = SOMEBODY) -> PasswordHash:
        return await self._queue.run(partial(self._hash, password), requester)

    async def verify(
        self, password: str, stored: PasswordHash | None, requester: Requester = SOMEBODY
    ) -> bool:
        if len(password) > PASSWORD_INPUT_MAX:
            password, stored = "", None  # costs the same work, for a text of a fixed length
        return await self._queue.run(partial(self._verify, password, stored), requester)

    def is_outdated(self, stored: PasswordHash) -> bool:
        id_, _, digest = stored.partition(":")
        return id_ != self._newest or _cost_of(digest.encode()) != self._cost

    def readings(self) -> Sequence[Reading]:
        return self._queue.readings()

    def _hash(self, password: str) -> PasswordHash:
        digest = bcrypt.hashpw(self._key(password, self._newest), bcrypt.gensalt(self._cost))
        return PasswordHash(f"{self._newest}:{digest.decode()}")

    def _verify(self, password: str, stored: PasswordHash | None) -> bool:
        id_, _, text = (stored or "").partition(":")
        digest = text.encode() or self._decoy
        is_ours = id_ in self._peppers
        if stored and not is_ours:
            self._report(id_)
        key = self._key(password, id_ if is_ours else self._newest)
        matches = bcrypt.checkpw(key, digest)
        # Verifying a hash of a lower cost takes less time than the decoy, which would show that
        # the account exists. Each cost is twice the one below, so one hash of each adds up to the
        # difference.
        for cost in range(_cost_of(digest), self._cost):
            bcrypt.hashpw(key, bcrypt.gensalt(cost))
        return matches and is_ours

    def _report(self, id_: str) -> None:
        """Log once for each pepper that passwords are refused although they may be right."""
        if id_ not in self._reported:
            self._reported.add(id_)
            log.error(
                "a password was refused: PEPPER does not have the pepper of its hash",
                extra={"fields": {"pepper_id": id_}},
            )

    def _key(self, password: str, id_: str) -> bytes:
        # Some forms send half a surrogate pair. It counts as a character.
        text = normalized(password).encode(errors="surrogatepass")
        return b64encode(hmac.digest(self._peppers[id_], text, "sha384"))


def pepper_id(pepper: str) -> str:
    """The id of a pepper that a stored hash begins with. It does not reveal the pepper."""
    digest = sha256(b"gatepost pepper id" + pepper.encode())
    return digest.hexdigest()[:PEPPER_ID_LENGTH]


def _cost_of(digest: bytes) -> int:
    """The cost stands between the second and the third dollar sign of a bcrypt hash."""
    return int(digest.split(b"$")[2])
