from copy import deepcopy
from dataclasses import replace

from application.ports.passwords import PasswordHash
from application.ports.queries import Credentials
from application.ports.storage import Users
from domain.users import EmailTaken, NewUser, Role, User, UserId
from tests.fakes.storage import Account, FakeUnitOfWork


class FakeUsers(Users):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(self, user: NewUser, password: PasswordHash) -> User:
        state = await self._uow.state()
        if state.account(user.email):
            raise self._uow.refuse(EmailTaken)
        added = user.stored_as(self._uow.new_id())
        state.put(added.id, Account(added.id, added, password))
        return added

    async def get(self, user_id: UserId) -> Credentials | None:
        account = (await self._uow.state()).accounts.get(user_id)
        return (
            Credentials(user=deepcopy(account.user), password=account.password) if account else None
        )

    async def by_email(self, email: str) -> Credentials | None:
        account = (await self._uow.state()).account(email)
        return (
            Credentials(user=deepcopy(account.user), password=account.password) if account else None
        )

    async def save(self, user: User) -> None:
        state = await self._uow.state()
        namesake = state.account(user.email)
        if namesake and namesake.user.id != user.id:
            raise self._uow.refuse(EmailTaken)
        account = state.accounts[user.id]
        state.put(user.id, replace(account, user=user))

    async def change_password(
        self, user_id: UserId, *, current_hash: PasswordHash, new_hash: PasswordHash
    ) -> bool:
        state = await self._uow.state()
        account = state.accounts.get(user_id)
        if account is None or account.password != current_hash:
            return False
        state.put(user_id, replace(account, password=new_hash))
        return True

    async def remove(self, user: User) -> None:
        (await self._uow.state()).remove(Account, user.id)

    async def admins(self) -> list[UserId]:
        state = await self._uow.state()
        users = [account.user for account in state.accounts.values()]
        return sorted(user.id for user in users if user.role is Role.ADMIN and user.is_active)


def _credentials(account: Account | None) -> Credentials | None:
    if account is None:
        return None
    return Credentials(user=deepcopy(account.user), password=account.password)
