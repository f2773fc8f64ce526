"""One-time codes: requests for them, and the actions that they allow."""

from datetime import datetime

from application.errors import raises
from application.passwords import PasswordCheck
from application.ports.clock import Clock
from application.ports.passwords import Requester
from application.ports.queries import Credentials, Queries
from application.ports.storage import Storage, UnitOfWork
from domain.events import Event
from domain.one_time_codes import InvalidCode, OneTimeCode, Purpose, code_hash
from domain.sessions import network_of
from domain.users import EmailTaken, User, UserId


class OneTimeCodeService:
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

    @raises()
    async def ask_for_verification(self, user: User) -> None:
        """Mail a code to the user's pending address, or else to their unverified address."""
        if user.pending_email:
            await self._ask(Purpose.VERIFICATION, user.pending_email, user.id)
        elif not user.is_verified:
            await self._ask(Purpose.VERIFICATION, user.email, user.id)

    @raises()
    async def ask_for_reset(self, email: str) -> None:
        """Mail a code to the user with this address, if there is one.

        Neither the result nor the duration depends on whether there is one.
        """
        await self._ask(Purpose.PASSWORD_RESET, email)

    @raises(InvalidCode, EmailTaken)
    async def verify(self, token: str) -> None:
        """Mark the address that `token` was mailed to as verified. A pending address replaces the
        current one, to which a code is mailed that undoes the change.

        Raises `InvalidCode`, or `EmailTaken` if another user has the address by now.
        """
        hash_ = code_hash(token, Purpose.VERIFICATION)
        code, owner = await self._code(hash_)
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            user = (await _consume(uow, code, owner, now)).user
            before = user.email
            user.confirm_email(code.email)
            moved = user.email != before
            if moved and await uow.codes.reserves(user.email, now, but=user.id):
                raise EmailTaken
            await uow.users.save(user)
            if moved:
                await uow.codes.delete_all(user.id)
                await uow.outbox.add(Purpose.EMAIL_CHANGE_UNDO, before, now, user_id=user.id)
                uow.record(Event.of("address_changed", f"user:{user.id}", actor_id=user.id, at=now))
            uow.record(Event.of("address_verified", f"user:{user.id}", actor_id=user.id, at=now))
            await uow.commit()

        await self._storage.run(work)

    @raises(InvalidCode, EmailTaken)
    async def undo_email_change(self, token: str) -> None:
        """Restore the address that `token` was mailed to, and revoke all sessions of the user.

        Deletes the codes that would undo later changes, because the attacker may read the mail of
        those addresses. Raises `InvalidCode`, or `EmailTaken`.
        """
        code, owner = await self._code(code_hash(token, Purpose.EMAIL_CHANGE_UNDO))
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            user = (await _consume(uow, code, owner, now)).user
            # Before the address is restored: the notice goes to the one that is replaced.
            event = Event.of("address_change_undone", f"user:{user.id}", actor_id=user.id, at=now)
            uow.record(event, concerned=user if user.email != code.email else None)
            user.restore_email(code.email)
            await uow.users.save(user)
            await uow.codes.delete_all(user.id)
            await uow.codes.delete_undos(code)
            await uow.sessions.revoke_all(user.id, now)
            await uow.commit()

        await self._storage.run(work)

    @raises(InvalidCode, PasswordCheck.new)
    async def reset(self, token: str, password: str, *, ip: str | None = None) -> None:
        """Set the user's password, revoke all their sessions and mark the address as verified.

        Raises `InvalidCode`, or `WeakPassword`, after which the token can be used again.
        """
        code, owner = await self._code(code_hash(token, Purpose.PASSWORD_RESET))
        requester = Requester(network_of(ip), is_known=True)
        new_hash = await self._passwords.new(password, owner.email, requester)
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            credentials = await _consume(uow, code, owner, now)
            event = Event.of("password_reset", f"user:{owner.id}", actor_id=owner.id, at=now)
            uow.record(event, concerned=credentials.user)
            credentials.user.confirm_email(code.email)
            await uow.users.save(credentials.user)
            await uow.users.change_password(
                owner.id, current_hash=credentials.password, new_hash=new_hash
            )
            await uow.codes.delete_all(owner.id)
            await uow.sessions.revoke_all(owner.id, now)
            await uow.commit()

        await self._storage.run(work)

    async def _ask(self, purpose: Purpose, email: str, user_id: UserId | None = None) -> None:
        async def work(uow: UnitOfWork) -> None:
            await uow.outbox.add(purpose, email, self._clock(), user_id=user_id)
            await uow.commit()

        await self._storage.run(work)

    async def _code(self, hash_: str) -> tuple[OneTimeCode, User]:
        found = await self._queries.code(hash_)
        if found is None or not found[0].is_valid_for(found[1], self._clock()):
            raise InvalidCode
        return found


async def _consume(uow: UnitOfWork, code: OneTimeCode, owner: User, now: datetime) -> Credentials:
    """Consume the code and return its owner as currently stored. Raises `InvalidCode`."""
    # Locks the user before the code. Every use case has this order, so none deadlock.
    found = await uow.users.get(owner.id)
    if found is None or not code.is_valid_for(found.user, now):
        raise InvalidCode
    if not await uow.codes.consume(code.code_hash):
        raise InvalidCode
    return found
