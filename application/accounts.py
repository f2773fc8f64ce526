"""Accounts: registering, looking at who is there, and what users do to their own account."""

from application.passwords import PasswordCheck
from application.ports.clock import Clock
from application.ports.passwords import PasswordHash, Passwords, Requester
from application.ports.queries import Credentials, Queries
from application.ports.storage import Storage, UnitOfWork
from application.retries import retried
from domain.events import Event
from domain.passwords import PasswordCandidate, PasswordPolicy, WrongPassword, check_password
from domain.policies import may_see_account
from domain.sessions import SessionId, network_of
from domain.users import (
    NewUser,
    ProfileChange,
    Role,
    User,
    UserDraft,
    UserId,
    UserNotFound,
    an_admin_is_left,
    register,
)


class AccountService:
    """What asks for the current password raises `WrongPassword`, also when somebody else changes
    it at the same time, and `TooManyRequests`: a wrong one counts as a login that failed at `ip`.
    """

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        passwords: Passwords,
        check: PasswordCheck,
        clock: Clock,
        password_policy: PasswordPolicy,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._passwords = passwords
        self._check = check
        self._clock = clock
        self._policy = password_policy

    async def register(
        self,
        draft: UserDraft,
        password: str,
        role: Role = Role.MEMBER,
        *,
        ip: str | None = None,
    ) -> User:
        """Store a new user. Raises the error of a broken rule, `WeakPassword` or `EmailTaken`."""
        user = register(draft, now=self._clock(), role=role)
        check_password(PasswordCandidate(password=password, email=user.email, policy=self._policy))
        requester = Requester(network_of(ip), is_known=False)
        return await self._add(user, await self._passwords.hash(password, requester))

    @retried
    async def _add(self, user: NewUser, password: PasswordHash) -> User:
        async with self._storage() as uow:
            registered = await uow.users.add(user, password)
            uow.record(
                Event.of(
                    "user_registered",
                    f"user:{registered.id}",
                    actor_id=None,
                    at=user.created_at,
                )
            )
            await uow.commit()
        return registered

    async def user(self, user_id: UserId) -> User:
        """Raises `UserNotFound`."""
        user = await self._queries.user(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    async def read(self, user_id: UserId, viewer: User) -> tuple[User, bool]:
        """The user, and whether `viewer` may see the whole account. Raises `UserNotFound`."""
        user = await self.user(user_id)
        return user, may_see_account(viewer, user, self._clock())

    async def edit(
        self,
        user: User,
        change: ProfileChange,
        current_password: str | None = None,
        *,
        ip: str | None = None,
    ) -> User:
        """The user as they are then. The password is needed for another address, which is
        unverified and kills the codes that were sent to the old one. Raises `EmailTaken` or the
        error of a broken rule.
        """
        known = None
        if change.email is not None:
            known = await self._confirmed(user, current_password or "", ip)
        return await self._edit(user, change, known)

    @retried
    async def _edit(self, user: User, change: ProfileChange, known: Credentials | None) -> User:
        async with self._storage(user.id) as uow:
            edited = await _locked(uow, user, known)
            edited.edit(change)
            await uow.users.save(edited)
            now = self._clock()
            if change.renames:
                uow.record(Event.of("user_renamed", f"user:{user.id}", actor_id=user.id, at=now))
            if change.email is not None:
                await uow.codes.delete_all(user.id)
                uow.record(Event.of("address_changed", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()
        return edited

    async def change_password(
        self,
        user: User,
        *,
        current: str,
        new: str,
        keep: SessionId | None,
        ip: str | None = None,
    ) -> None:
        """And end all sessions but `keep`, and all one-time codes. Raises `WeakPassword`."""
        check_password(PasswordCandidate(password=new, email=user.email, policy=self._policy))
        known = await self._confirmed(user, current, ip)
        requester = Requester(network_of(ip), is_known=True)
        await self._replace_password(known, await self._passwords.hash(new, requester), keep)

    @retried
    async def _replace_password(
        self, known: Credentials, new: PasswordHash, keep: SessionId | None
    ) -> None:
        user, now = known.user, self._clock()
        async with self._storage() as uow:
            if not await uow.users.change_password(user.id, known=known.password, new=new):
                raise WrongPassword
            await uow.sessions.revoke_all(user.id, now, but=keep)
            await uow.codes.delete_all(user.id)
            uow.record(Event.of("password_changed", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()

    async def delete(self, user: User, current_password: str, *, ip: str | None = None) -> None:
        """And all that is theirs. Raises `LastAdmin`."""
        await self._remove(await self._confirmed(user, current_password, ip))

    @retried
    async def _remove(self, known: Credentials) -> None:
        user = known.user
        async with self._storage() as uow:
            an_admin_is_left(user.id, await uow.users.admins())
            await uow.users.remove(await _locked(uow, user, known))
            now = self._clock()
            uow.record(Event.of("user_deleted", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()

    async def _confirmed(self, user: User, password: str, ip: str | None) -> Credentials:
        known = await self._check.credentials(user.email, password, ip, is_logged_in=True)
        # The address may have gone on to somebody else by now.
        if known is None or known.user.id != user.id:
            raise WrongPassword
        return known


async def _locked(uow: UnitOfWork, user: User, known: Credentials | None) -> User:
    """The user as stored now; when their password was confirmed, with that one still."""
    found = await uow.users.get(user.id)
    if found is None:
        raise UserNotFound(user.id)
    if known is not None and found.password != known.password:
        raise WrongPassword
    return found.user
