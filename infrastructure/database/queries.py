"""Reads outside of transactions."""

from datetime import datetime
from typing import Any, cast

from application.concepts import adapter
from application.ports.queries import (
    AuditEntry,
    Credentials,
    EventList,
    P,
    PostDetails,  # posts only
    PostList,  # posts only
    Queries,
    RefreshLookup,
)
from domain.one_time_codes import OneTimeCode
from domain.pages import Page
from domain.posts import PostId  # posts only
from domain.sessions import Session, SessionId
from domain.users import User, UserId
from infrastructure.database import (
    events,
    external_identities,
    one_time_codes,
    post_lists,  # posts only
    posts,  # posts only
    sessions,
    users,
)
from infrastructure.database.driver.statements import Database
from infrastructure.database.readiness import Readiness


class SqlQueries(Queries):
    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads: dict[object, object] = {}
        self._session = sessions.session_lookup(database)
        self._post = posts.post_lookup(database)  # posts only
        self._identity = external_identities.identity_lookup(database)
        self._readiness = Readiness(database)

    def of(self, port: type[P], /) -> P:
        if port not in self._reads:
            reads: Any = adapter(port, "infrastructure.database")
            self._reads[port] = reads(self._database)
        return cast("P", self._reads[port])

    async def session_user(self, session_id: SessionId) -> tuple[Session, User] | None:
        return await sessions.session_user(self._session, session_id)

    async def sessions(self, user_id: UserId, now: datetime) -> list[Session]:
        return await sessions.sessions(self._database, user_id, now)

    async def refresh_lookup(self, refresh_hash: str) -> RefreshLookup | None:
        return await sessions.refresh_lookup(self._database, refresh_hash)

    async def user(self, user_id: UserId) -> User | None:
        return await users.user(self._database, user_id)

    async def users(self, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        return await users.users(self._database, limit, after)

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        return await external_identities.by_identity(self._identity, issuer, subject)

    async def credentials(self, email: str) -> Credentials | None:
        return await users.credentials(self._database, email)

    async def has_logged_in_from(self, user_id: UserId, network: str) -> bool:
        return await sessions.has_logged_in_from(self._database, user_id, network)

    async def is_new_network(self, user_id: UserId, network: str) -> bool:
        return await sessions.is_new_network(self._database, user_id, network)

    async def code(self, code_hash: str) -> tuple[OneTimeCode, User] | None:
        return await one_time_codes.code(self._database, code_hash)

    async def post(  # posts only
        self, post_id: PostId, viewer: User, now: datetime
    ) -> PostDetails | None:
        record = await self._post(post_id, viewer.id)
        return None if record is None else posts.post_details_of(record, now)

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:  # posts only
        return await post_lists.posts(self._database, wanted, now)

    async def events(self, wanted: EventList) -> Page[AuditEntry]:
        return await events.events(self._database, wanted)

    async def ready(self) -> list[str]:
        return await self._readiness()
