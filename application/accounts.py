"""Accounts: registering, and looking at who is there."""

from datetime import datetime

from application.ports.clock import Clock
from application.ports.passwords import Passwords
from application.ports.queries import Queries
from application.ports.storage import Storage
from domain.events import Event
from domain.passwords import Choice, check_password
from domain.users import Role, User, UserDraft, UserId, UserNotFound, register


class AccountService:
    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        passwords: Passwords,
        clock: Clock,
        password_min: int,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._passwords = passwords
        self._clock = clock
        self._password_min = password_min

    async def register(self, draft: UserDraft, password: str, role: Role = Role.MEMBER) -> User:
        """Store a new user. Raises the error of a broken rule, `WeakPassword` or `EmailTaken`."""
        user = register(draft, now=self._clock(), role=role)
        check_password(Choice(password=password, email=user.email, minimum=self._password_min))
        password_hash = await self._passwords.hash(password)
        async with self._storage() as uow:
            registered = await uow.users.add(user, password_hash)
            uow.record(_event("user_registered", registered, user.created_at))
            await uow.commit()
        return registered

    async def make_admin(self, email: str) -> User | None:
        """Make the user with this address an admin; None when there is no such user."""
        async with self._storage() as uow:
            user = await uow.users.promote(email, Role.ADMIN)
            if user is not None:
                uow.record(_event("user_promoted", user, self._clock()))
            await uow.commit()
        return user

    async def user(self, user_id: UserId) -> User:
        """Raises `UserNotFound`."""
        user = await self._queries.user(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user


def _event(name: str, user: User, at: datetime) -> Event:
    """What nobody who was logged in did to `user`."""
    return Event(name=name, actor_id=None, subject=f"user:{user.id}", at=at)
