"""Accounts: registering, looking at who is there, and what users do to their own account."""

from datetime import datetime

from application.errors import raises
from application.passwords import PasswordCheck
from application.ports.clock import Clock
from application.ports.jobs import NewJob
from application.ports.passwords import Requester
from application.ports.queries import Credentials, Queries
from application.ports.storage import Storage, UnitOfWork
from domain.events import Event
from domain.one_time_codes import Purpose
from domain.passwords import WrongPassword
from domain.policies import may_see_account
from domain.sessions import InvalidToken, SessionId, network_of
from domain.users import (
    EmailTaken,
    ProfileChange,
    Role,
    User,
    UserDraft,
    UserId,
    UserNotFound,
    an_admin_is_left,
    register,
)

REMOVE_CLOSED_ACCOUNTS = "remove_closed_accounts"
"""The kind of job that removes all that belonged to closed accounts."""


class AccountService:
    """What asks for the current password raises `WrongPassword`, also when somebody else changes
    it at the same time, and `TooManyRequests`: a wrong one counts as a login that failed at `ip`.
    """

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        passwords: PasswordCheck,
        clock: Clock,
        tells_taken: bool,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._passwords = passwords
        self._clock = clock
        self._tells_taken = tells_taken

    @raises(register, PasswordCheck.new, EmailTaken)
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
        requester = Requester(network_of(ip), is_known=False)
        password_hash = await self._passwords.new(password, user.email, requester)

        async def work(uow: UnitOfWork) -> User:
            if await uow.codes.reserves(user.email, user.created_at):
                raise EmailTaken
            registered = await uow.users.add(user, password_hash)
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

        return await self._storage.run(work)

    @raises(UserNotFound)
    async def user(self, user_id: UserId) -> User:
        """Raises `UserNotFound`."""
        user = await self._queries.user(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    @raises(UserNotFound)
    async def read(self, user_id: UserId, viewer: User) -> tuple[User, bool]:
        """The user, and whether `viewer` may see the whole account. Raises `UserNotFound`."""
        user = await self.user(user_id)
        return user, may_see_account(viewer, user, self._clock())

    @raises(User.edit, PasswordCheck.credentials, WrongPassword, EmailTaken, InvalidToken)
    async def edit(
        self,
        user: User,
        change: ProfileChange,
        current_password: str | None = None,
        *,
        ip: str | None = None,
    ) -> User:
        """The user as they are then. The password is needed for another address, which is pending
        until the code that is mailed to it comes back; the present one is mailed a code that undoes
        the change. Raises `EmailTaken` or the error of a broken rule.
        """
        credentials = None
        if change.email is not None:
            credentials = await self._confirmed(user, current_password or "", ip)
            owner = await self._queries.credentials(change.email)
            if self._tells_taken and owner is not None and owner.user.id != user.id:
                raise EmailTaken

        async def work(uow: UnitOfWork) -> User:
            edited = await _locked(uow, user, credentials)
            edited.edit(change)
            await uow.users.save(edited)
            now = self._clock()
            if change.renames:
                uow.record(Event.of("user_renamed", f"user:{user.id}", actor_id=user.id, at=now))
            if change.email is not None:
                await self._ask_to_move(uow, edited, now)
            await uow.commit()
            return edited

        return await self._storage.run(work)

    async def _ask_to_move(self, uow: UnitOfWork, user: User, now: datetime) -> None:
        if user.pending_email is None:
            return
        is_reserved = await uow.codes.reserves(user.pending_email, now, but=user.id)
        if is_reserved and self._tells_taken:
            raise EmailTaken
        # In this order: a code that undoes the change is there before one that confirms it.
        for purpose, email in (
            (Purpose.EMAIL_CHANGE_UNDO, user.email),
            (Purpose.VERIFICATION, user.pending_email),
        ):
            await uow.outbox.add(purpose, email, now, user_id=user.id)
        uow.record(
            Event.of("address_change_requested", f"user:{user.id}", actor_id=user.id, at=now)
        )

    @raises(PasswordCheck.credentials, PasswordCheck.new, WrongPassword)
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
        self._passwords.check(new, user.email)
        credentials = await self._confirmed(user, current, ip)
        requester = Requester(network_of(ip), is_known=True)
        new_hash = await self._passwords.new(new, user.email, requester)
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            if not await uow.users.change_password(
                user.id, current_hash=credentials.password, new_hash=new_hash
            ):
                raise WrongPassword
            await uow.sessions.revoke_all(user.id, now, but=keep)
            await uow.codes.delete_all(user.id)
            event = Event.of("password_changed", f"user:{user.id}", actor_id=user.id, at=now)
            uow.record(event, concerned=user)
            await uow.commit()

        await self._storage.run(work)

    @raises(PasswordCheck.credentials, WrongPassword, an_admin_is_left, InvalidToken)
    async def delete(self, user: User, current_password: str, *, ip: str | None = None) -> None:
        """Close the account: at once, and however much is stored. Raises `LastAdmin`."""
        credentials = await self._confirmed(user, current_password, ip)
        await self._remove(user, credentials)

    @raises(an_admin_is_left, InvalidToken)
    async def delete_external(self, user: User) -> None:
        """As `delete`, for a user who has no password here. Their tokens issued until now are dead,
        and a later one registers them as somebody new. Raises `LastAdmin`.
        """
        await self._remove(user, None)

    async def _remove(self, user: User, credentials: Credentials | None) -> None:
        async def work(uow: UnitOfWork) -> None:
            an_admin_is_left(user.id, await uow.users.admins())
            removed = await _locked(uow, user, credentials)
            now = self._clock()
            await uow.identities.end(user.id, now)
            await uow.users.remove(removed)
            await uow.jobs.add(NewJob(kind=REMOVE_CLOSED_ACCOUNTS, due_at=now))
            uow.record(Event.of("user_deleted", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()

        await self._storage.run(work)

    async def _confirmed(self, user: User, password: str, ip: str | None) -> Credentials:
        credentials = await self._passwords.credentials(user.email, password, ip, is_logged_in=True)
        # The address may have gone on to somebody else by now.
        if credentials is None or credentials.user.id != user.id:
            raise WrongPassword
        return credentials


async def _locked(uow: UnitOfWork, user: User, credentials: Credentials | None) -> User:
    """The user as stored now; when their password was confirmed, with that one still."""
    found = await uow.users.get(user.id)
    if found is None:
        raise InvalidToken  # the account was closed concurrently
    if credentials is not None and found.password != credentials.password:
        raise WrongPassword
    return found.user
