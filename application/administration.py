"""Administration: roles and states of accounts, lists of users, and the audit."""

from application.errors import raises
from application.passwords import PasswordCheck
from application.ports.clock import Clock
from application.ports.personal_tokens import PersonalTokens
from application.ports.queries import AuditEntry, EventList, Queries
from application.ports.storage import Storage, UnitOfWork
from domain.addresses import BadEmail, normal_address
from domain.events import Event
from domain.pages import InvalidCursor, Page
from domain.policies import AdminsOnly, is_admin
from domain.sessions import Session
from domain.users import Role, User, UserId, UserNotFound


class AdministrationService:
    """Every method with a parameter `admin` raises `AdminsOnly` if that user is not an admin."""

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        passwords: PasswordCheck,
        clock: Clock,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._passwords = passwords
        self._clock = clock

    async def make_admin(
        self, email: str, *, unverified: bool = False, password: str | None = None
    ) -> User | None:
        """Make the user with this address an admin. Returns None if there is no such user.

        `password`, if given, replaces the user's password, revokes their sessions and deletes their
        personal tokens and one-time codes. Checks no role: this is for the operator's command line.
        Raises as `User.promote` does, and `WeakPassword`.
        """
        new_hash = None if password is None else await self._passwords.new(password, email)
        now = self._clock()

        async def work(uow: UnitOfWork) -> User | None:
            found = await uow.users.by_email(email)
            if found is None:
                return None
            user, subject = found.user, f"user:{found.user.id}"
            was_admin = user.role is Role.ADMIN
            user.promote(unverified=unverified)
            if not was_admin:
                await uow.users.save(user)
                uow.record(Event.of("user_promoted", subject, actor_id=None, at=now))
            if new_hash is not None:
                await uow.users.change_password(
                    user.id, current_hash=found.password, new_hash=new_hash
                )
                await uow.sessions.revoke_all(user.id, now)
                await uow.of(PersonalTokens).delete_all(user.id)
                await uow.codes.delete_all(user.id)
                event = Event.of("password_reset", subject, actor_id=None, at=now)
                uow.record(event, concerned=user)
            await uow.commit()
            return user

        return await self._storage.run(work)

    @raises(AdminsOnly, InvalidCursor)
    async def users(self, admin: User, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        """All users, newest first. Raises `InvalidCursor`."""
        _allow(admin)
        return await self._queries.users(limit, after)

    async def find(self, admin: User, wanted: str) -> User | None:
        """The user with this address or id."""
        _allow(admin)
        if wanted.isdecimal() and wanted.isascii() and len(wanted) < 19:
            return await self._queries.user(UserId(int(wanted)))
        try:
            credentials = await self._queries.credentials(normal_address(wanted))
        except BadEmail:
            return None
        return credentials.user if credentials else None

    @raises(AdminsOnly, InvalidCursor)
    async def audit(self, admin: User, wanted: EventList) -> Page[AuditEntry]:
        """The recorded events, newest first. Raises `InvalidCursor`."""
        _allow(admin)
        return await self._queries.events(wanted)

    @raises(AdminsOnly, UserNotFound)
    async def sessions(self, admin: User, user_id: UserId) -> list[Session]:
        """The sessions of a user that are alive, the one used last first. Raises `UserNotFound`."""
        _allow(admin)
        if await self._queries.user(user_id) is None:
            raise UserNotFound(user_id)
        return await self._queries.sessions(user_id, self._clock())

    @raises(AdminsOnly, UserNotFound)
    async def revoke_sessions(self, admin: User, user_id: UserId) -> None:
        """Revoke all sessions of a user. Raises `UserNotFound`."""
        _allow(admin)
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            if await uow.users.get(user_id) is None:
                raise UserNotFound(user_id)
            revoked = await uow.sessions.revoke_all(user_id, now)
            uow.record(
                Event.of(
                    "sessions_ended", f"user:{user_id}", actor_id=admin.id, at=now, sessions=revoked
                )
            )
            await uow.commit()

        await self._storage.run(work)

    @raises(AdminsOnly, UserNotFound, User.administer)
    async def change(
        self, admin: User, user_id: UserId, *, role: Role | None, is_active: bool | None
    ) -> User:
        """Change the user's role and state; None keeps the current one. A deactivation revokes all
        sessions of the user and deletes their personal tokens. Raises `UserNotFound` or
        `LastAdmin`.
        """
        _allow(admin)
        now = self._clock()

        async def work(uow: UnitOfWork) -> User:
            admins = await uow.users.admins()
            if admin.id not in admins:  # another admin has demoted them concurrently
                raise AdminsOnly
            found = await uow.users.get(user_id)
            if found is None:
                raise UserNotFound(user_id)
            user = found.user
            subject, old_role, was_active = f"user:{user.id}", user.role, user.is_active
            user.administer(role=role, is_active=is_active, admins=admins, now=now)
            await uow.users.save(user)
            if user.role is not old_role:
                details = {"role": user.role.value}
                uow.record(Event.of("role_changed", subject, actor_id=admin.id, at=now, **details))
            if user.is_active and not was_active:
                uow.record(Event.of("user_reactivated", subject, actor_id=admin.id, at=now))
            if was_active and not user.is_active:
                await uow.sessions.revoke_all(user.id, now)
                await uow.of(PersonalTokens).delete_all(user.id)
                await uow.codes.delete_all(user.id)
                uow.record(Event.of("user_deactivated", subject, actor_id=admin.id, at=now))
            await uow.commit()
            return user

        return await self._storage.run(work)


def _allow(actor: User) -> None:
    if not is_admin(actor):
        raise AdminsOnly
