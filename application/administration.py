"""Administration: what admins do to the accounts of others, and the audit."""

from datetime import datetime

from application.ports.clock import Clock
from application.ports.queries import AuditEntry, Queries
from application.ports.storage import Storage
from application.retries import retried
from domain.events import Event
from domain.pages import Page
from domain.policies import AdminsOnly, is_admin
from domain.users import Role, User, UserId, UserNotFound


class AdministrationService:
    """All that takes an `admin` raises `AdminsOnly` for somebody else."""

    def __init__(self, *, queries: Queries, storage: Storage, clock: Clock) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock

    @retried
    async def make_admin(self, email: str) -> User | None:
        """Make the user with this address an admin; None when there is no such user.

        For whoever has a hand on the service itself, such as the command line.
        """
        async with self._storage() as uow:
            user = await uow.users.promote(email, Role.ADMIN)
            if user is not None:
                uow.record(_event("user_promoted", user, self._clock()))
            await uow.commit()
        return user

    async def users(self, admin: User, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        """Newest first. Raises `InvalidCursor`."""
        _allow(admin)
        return await self._queries.users(limit, after)

    async def audit(
        self, admin: User, limit: int, after: tuple[int, ...] | None
    ) -> Page[AuditEntry]:
        """What was recorded, newest first. Raises `InvalidCursor`."""
        _allow(admin)
        return await self._queries.events(limit, after)

    @retried
    async def change(
        self, admin: User, user_id: UserId, *, role: Role | None, is_active: bool | None
    ) -> User:
        """Give the user role and state, None leaving either as it is; deactivation ends all their
        sessions for good. Raises `UserNotFound` or `LastAdmin`.
        """
        _allow(admin)
        now = self._clock()
        async with self._storage() as uow:
            admins = await uow.users.admins()
            if admin.id not in admins:  # any more: another admin was faster
                raise AdminsOnly
            found = await uow.users.get(user_id)
            if found is None:
                raise UserNotFound(user_id)
            user = found.user
            old_role, was_active = user.role, user.is_active
            user.administer(role=role, is_active=is_active, admins=admins, now=now)
            await uow.users.save(user)
            if user.role is not old_role:
                uow.record(_event("role_changed", user, now, admin, role=user.role.value))
            if user.is_active and not was_active:
                uow.record(_event("user_reactivated", user, now, admin))
            if was_active and not user.is_active:
                await uow.sessions.revoke_all(user.id, now)
                await uow.codes.delete_all(user.id)
                uow.record(_event("user_deactivated", user, now, admin))
            await uow.commit()
        return user


def _allow(actor: User) -> None:
    if not is_admin(actor):
        raise AdminsOnly


def _event(name: str, user: User, at: datetime, actor: User | None = None, **details: str) -> Event:
    return Event(
        name=name,
        actor_id=actor.id if actor else None,
        subject=f"user:{user.id}",
        at=at,
        details=details,
    )
