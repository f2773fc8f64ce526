import secrets
from hashlib import sha256

from application.ports.passwords import PasswordHash, Passwords
from domain.errors import Unavailable
from domain.passwords import PASSWORD_INPUT_MAX, normalized


class FakePasswords(Passwords):
    """Salted, but fast. `work` counts what bcrypt would have been slow at; set `busy` to have all
    of it refused, and add hashes to `outdated` for them to be that.
    """

    def __init__(self) -> None:
        self.work = 0
        self.busy = False
        self.outdated: set[PasswordHash] = set()

    async def hash(self, password: str) -> PasswordHash:
        digest = _hash(password, secrets.token_hex(8))
        self._work()
        return digest

    async def verify(self, password: str, known: PasswordHash | None) -> bool:
        self._work()
        if known is None or len(password) > PASSWORD_INPUT_MAX:
            return False
        return known == _hash(password, known.partition(":")[0])

    def is_outdated(self, known: PasswordHash) -> bool:
        return known in self.outdated

    def _work(self) -> None:
        if self.busy:
            raise Unavailable
        self.work += 1


def _hash(password: str, salt: str) -> PasswordHash:
    text = f"{salt}:{normalized(password)}".encode(errors="surrogatepass")
    return PasswordHash(f"{salt}:{sha256(text).hexdigest()}")
