import secrets
from hashlib import sha256

from application.ports.passwords import SOMEBODY, PasswordHash, Passwords, Requester
from domain.errors import Unavailable
from domain.passwords import PASSWORD_INPUT_MAX, normalized


class FakePasswords(Passwords):
    """Salted, but fast. `work` counts what bcrypt would have been slow at, and `requesters` has who
    asked for it. Set `busy` to have all of it refused, or `full_for_strangers` to have that of
    requesters who are not known refused. Add hashes to `outdated` for them to be that.
    """

    def __init__(self) -> None:
        self.work = 0
        self.requesters: list[Requester] = []
        self.busy = False
        self.full_for_strangers = False
        self.outdated: set[PasswordHash] = set()

    async def hash(self, password: str, requester: Requester = SOMEBODY) -> PasswordHash:
        digest = _hash(password, secrets.token_hex(8))
        self._work(requester)
        return digest

    async def verify(
        self, password: str, stored: PasswordHash | None, requester: Requester = SOMEBODY
    ) -> bool:
        self._work(requester)
        if stored is None or len(password) > PASSWORD_INPUT_MAX:
            return False
        return stored == _hash(password, stored.partition(":")[0])

    def is_outdated(self, stored: PasswordHash) -> bool:
        return stored in self.outdated

    def _work(self, requester: Requester) -> None:
        if self.busy or (self.full_for_strangers and not requester.is_known):
            raise Unavailable
        self.work += 1
        self.requesters.append(requester)


def _hash(password: str, salt: str) -> PasswordHash:
    text = f"{salt}:{normalized(password)}".encode(errors="surrogatepass")
    return PasswordHash(f"{salt}:{sha256(text).hexdigest()}")
