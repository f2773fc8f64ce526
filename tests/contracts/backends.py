"""The storages that the contracts run on, with access behind the ports."""

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, update

from application.ports.passwords import PasswordHash
from application.ports.queries import (
    PostDetails,  # posts only
    PostList,  # posts only
    Queries,
)
from application.ports.storage import Storage
from domain.pages import Page
from domain.posts import NewPost, Post, PostId  # posts only
from domain.sessions import Session
from domain.users import User, UserId
from infrastructure.database.driver.statements import Clause, Database
from infrastructure.database.posts import POSTS  # posts only
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.database.users import USERS
from tests.factories import (
    NewSessionFactory,
    NewUserFactory,
    PostContentFactory,  # posts only
)
from tests.fakes.clock import NOON
from tests.fakes.queries import FakeQueries
from tests.fakes.storage import FakeStorage

PASSWORD = PasswordHash("a hash")


class Backend(ABC):
    def __init__(self, queries: Queries, storage: Storage) -> None:
        self.queries = queries
        self.storage = storage

    async def add_user(self, *, password: PasswordHash = PASSWORD, **wanted: Any) -> User:
        async with self.storage() as uow:
            user = await uow.users.add(NewUserFactory.build(**wanted), password)
            await uow.commit()
        return user

    async def add_session(self, user: User, **wanted: Any) -> Session:
        new = NewSessionFactory.build(user_id=user.id, **wanted)
        async with self.storage() as uow:
            session = await uow.sessions.add(new, PASSWORD)
            await uow.commit()
        return session

    async def add_post(  # posts only
        self, owner: User, *, created_at: datetime = NOON, **content: Any
    ) -> Post:
        new = NewPost(
            owner_id=owner.id, content=PostContentFactory.build(**content), created_at=created_at
        )
        async with self.storage() as uow:
            post = await uow.posts.add(new)
            await uow.commit()
        return post

    async def post(self, post_id: PostId, viewer: User) -> PostDetails | None:  # posts only
        return await self.queries.post(post_id, viewer, NOON)

    async def posts(self, wanted: PostList) -> Page[PostDetails]:  # posts only
        return await self.queries.posts(wanted, NOON)

    async def remove_post(self, post: Post) -> None:  # posts only
        async with self.storage() as uow:
            await uow.posts.remove(post)
            await uow.commit()

    async def vote(self, post_id: PostId, voter: User) -> None:  # posts only
        async with self.storage() as uow:
            await uow.votes.add(post_id, voter.id)
            await uow.commit()

    @abstractmethod
    async def deactivate(self, user: User) -> None: ...

    @abstractmethod
    async def change_password(self, user: User, password: PasswordHash) -> None: ...

    @abstractmethod
    async def remove_user(self, user_id: UserId) -> None: ...


class FakeBackend(Backend):
    def __init__(self) -> None:
        storage = FakeStorage()
        super().__init__(FakeQueries(storage), storage)
        self._storage = storage

    async def deactivate(self, user: User) -> None:
        self._storage.change_user(user.id, is_active=False)

    async def change_password(self, user: User, password: PasswordHash) -> None:
        self._storage.change_password(user.id, password)

    async def remove_user(self, user_id: UserId) -> None:
        self._storage.remove_user(user_id)


_DEACTIVATE = update(USERS).values(is_active=False).where(USERS.c.id == bindparam("user"))
CHANGE_PASSWORD = (
    update(USERS).values(password_hash=bindparam("password")).where(USERS.c.id == bindparam("user"))
)
_REMOVE_USER = delete(USERS).where(USERS.c.id == bindparam("user"))

_COUNT_VOTE = (  # posts only
    update(POSTS).values(votes=POSTS.c.votes + 1).where(POSTS.c.id == bindparam("post"))
)


class SqlBackend(Backend):
    def __init__(self, database: Database) -> None:
        super().__init__(SqlQueries(database), SqlStorage(database))
        self.database = database

    async def deactivate(self, user: User) -> None:
        await self._change(_DEACTIVATE, user=user.id)

    async def change_password(self, user: User, password: PasswordHash) -> None:
        await self._change(CHANGE_PASSWORD, user=user.id, password=password)

    async def remove_user(self, user_id: UserId) -> None:
        await self._change(_REMOVE_USER, user=user_id)

    async def _change(self, clause: Clause, **values: Any) -> None:
        async with self.database.transaction() as transaction:
            await transaction.fetch(clause, **values)
            await transaction.commit()
