"""One-time codes: asking for them, and what they are good for."""

from collections.abc import Callable

from application.ports.clock import Clock
from application.ports.passwords import PasswordHash, Passwords, Requester
from application.ports.queries import Credentials, Queries
from application.ports.storage import Storage, UnitOfWork
from application.retries import retried
from domain.events import Event
from domain.one_time_codes import InvalidCode, Purpose, code_hash
from domain.passwords import PasswordCandidate, PasswordPolicy, check_password
from domain.sessions import network_of
from domain.users import User


class OneTimeCodeService:
    """`on_asked` is told whenever there is a mail to be sent."""

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        passwords: Passwords,
        clock: Clock,
        password_policy: PasswordPolicy,
        on_asked: Callable[[], None],
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._passwords = passwords
        self._clock = clock
        self._policy = password_policy
        self._on_asked = on_asked

    async def ask_for_verification(self, user: User) -> None:
        """Have a code mailed to the user, unless they are verified."""
        if not user.is_verified:
            await self._ask(Purpose.VERIFICATION, user.email)

    async def ask_for_reset(self, email: str) -> None:
        """Have a code mailed to the user with this address, if there is one: nothing here, not even
        the time it takes, tells whether there is.
        """
        await self._ask(Purpose.PASSWORD_RESET, email)

    @retried
    async def verify(self, token: str) -> None:
        """Believe that the user has their address. Raises `InvalidCode`."""
        hash_ = code_hash(token, Purpose.VERIFICATION)
        owner = await self._owner(hash_)
        async with self._storage() as uow:
            user = (await _use(uow, hash_, owner)).user
            user.is_verified = True
            await uow.users.save(user)
            now = self._clock()
            uow.record(Event.of("address_verified", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()

    async def reset(self, token: str, password: str, *, ip: str | None = None) -> None:
        """Give the user this password and end all their sessions.

        Raises `InvalidCode`, or `WeakPassword`, which leaves the token as good as it was.
        """
        hash_ = code_hash(token, Purpose.PASSWORD_RESET)
        owner = await self._owner(hash_)
        check_password(PasswordCandidate(password=password, email=owner.email, policy=self._policy))
        requester = Requester(network_of(ip), is_known=True)
        await self._reset(hash_, owner, await self._passwords.hash(password, requester))

    @retried
    async def _reset(self, hash_: str, owner: User, password: PasswordHash) -> None:
        now = self._clock()
        async with self._storage() as uow:
            known = await _use(uow, hash_, owner)
            await uow.users.change_password(owner.id, known=known.password, new=password)
            await uow.codes.delete_all(owner.id)
            await uow.sessions.revoke_all(owner.id, now)
            uow.record(Event.of("password_reset", f"user:{owner.id}", actor_id=owner.id, at=now))
            await uow.commit()

    @retried
    async def _ask(self, purpose: Purpose, email: str) -> None:
        async with self._storage() as uow:
            await uow.outbox.add(purpose, email, self._clock())
            await uow.commit()
        self._on_asked()

    async def _owner(self, hash_: str) -> User:
        found = await self._queries.code(hash_)
        if found is None:
            raise InvalidCode
        code, user = found
        if not code.is_valid_for(user, self._clock()):
            raise InvalidCode
        return user


async def _use(uow: UnitOfWork, hash_: str, owner: User) -> Credentials:
    """Use the code up; its owner as stored now."""
    # The user first, as all do who change one: nobody waits for the other crosswise.
    found = await uow.users.get(owner.id)
    if found is None or not await uow.codes.consume(hash_):
        raise InvalidCode
    return found
