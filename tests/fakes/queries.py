from copy import copy
from datetime import datetime
from operator import gt, lt
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
    Sort,  # posts only
)
from domain.events import LOGGED_IN
from domain.one_time_codes import OneTimeCode
from domain.pages import InvalidCursor, Page, page_length
from domain.policies import Visibility, may_read  # posts only
from domain.posts import Post, PostId  # posts only
from domain.search import Term, words_of  # posts only
from domain.sessions import RefreshChain, Session, SessionId, network_of
from domain.users import User, UserId
from tests.fakes.storage import FakeStorage, Identity


class FakeQueries(Queries):
    """Reads what is committed in a `FakeStorage`."""

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    def of(self, port: type[P], /) -> P:
        reads: Any = adapter(port, "tests.fakes")
        return cast("P", reads(self._storage))

    async def session_user(self, session_id: SessionId) -> tuple[Session, User] | None:
        state = await self._storage.read()
        session = state.sessions.get(session_id)
        if session is None:
            return None
        return copy(session), copy(state.accounts[session.user_id].user)

    async def sessions(self, user_id: UserId, now: datetime) -> list[Session]:
        return [copy(session) for session in (await self._storage.read()).sessions_of(user_id, now)]

    async def refresh_lookup(self, refresh_hash: str) -> RefreshLookup | None:
        state = await self._storage.read()
        token = state.refresh_tokens.get(refresh_hash)
        if token is None:
            return None
        session_id = token.session_id
        session = copy(state.sessions[session_id])
        chain = state.refresh_chain(session_id)
        later = chain[chain.index(token) + 1 :]
        return RefreshLookup(
            session=session,
            user=copy(state.accounts[session.user_id].user),
            chain=RefreshChain(
                current_hash=chain[-1].hash,
                nonce=chain[-1].nonce,
                rotated_at=later[0].made_at if later else None,
            ),
        )

    async def user(self, user_id: UserId) -> User | None:
        account = (await self._storage.read()).accounts.get(user_id)
        return copy(account.user) if account else None

    async def users(self, limit: int, after: tuple[int, ...] | None) -> Page[User]:
        if after is not None and len(after) != 1:
            raise InvalidCursor
        accounts = (await self._storage.read()).accounts
        found = [copy(accounts[id_].user) for id_ in sorted(accounts, reverse=True)]
        found = [user for user in found if after is None or user.id < after[0]]
        return Page(found[:limit], next=(found[limit - 1].id,) if len(found) > limit else None)

    async def by_identity(self, issuer: str, subject: str) -> User | None:
        state = await self._storage.read()
        identity = state.rows(Identity).get((issuer, subject))
        account = state.accounts.get(identity.user_id) if identity else None
        return copy(account.user) if account else None

    async def credentials(self, email: str) -> Credentials | None:
        account = (await self._storage.read()).account(email)
        if account is None:
            return None
        return Credentials(user=copy(account.user), password=account.password)

    async def code(self, code_hash: str) -> tuple[OneTimeCode, User] | None:
        state = await self._storage.read()
        code = state.codes.get(code_hash)
        return (code, copy(state.accounts[code.user_id].user)) if code else None

    async def has_logged_in_from(self, user_id: UserId, network: str) -> bool:
        sessions = (await self._storage.read()).sessions.values()
        return any(s.user_id == user_id and network_of(s.ip) == network for s in sessions)

    async def is_new_network(self, user_id: UserId, network: str) -> bool:
        state = await self._storage.read()
        networks = {network_of(s.ip) for s in state.sessions.values() if s.user_id == user_id}
        events = {(entry.event.actor_id, entry.event.name) for entry in state.events}
        has_logged_in = bool(networks) or (user_id, LOGGED_IN) in events
        return has_logged_in and network not in networks

    async def post(  # posts only
        self, post_id: PostId, viewer: User, now: datetime
    ) -> PostDetails | None:
        state = await self._storage.read()
        post = state.posts.get(post_id)
        return state.details(post, viewer.id, now) if post else None

    async def posts(self, wanted: PostList, now: datetime) -> Page[PostDetails]:  # posts only
        key = wanted.sort.key
        if wanted.after is not None and len(wanted.after) != (1 + (wanted.sort is Sort.TOP)):
            raise InvalidCursor
        state = await self._storage.read()
        posts = [state.details(post, wanted.viewer.id, now) for post in state.posts.values()]
        found = [details for details in posts if _is_in(wanted, details, now)]
        found.sort(key=key, reverse=wanted.sort is not Sort.OLDEST)
        if wanted.after is not None:
            behind = lt if wanted.sort is not Sort.OLDEST else gt
            found = [details for details in found if behind(key(details), wanted.after)]
        items = found[: wanted.limit]
        items = items[: page_length([item.post.content.content for item in items])]
        return Page(items, next=key(items[-1]) if len(found) > len(items) else None)

    async def events(self, wanted: EventList) -> Page[AuditEntry]:
        after, limit = wanted.after, wanted.limit
        if after is not None and len(after) != 1:
            raise InvalidCursor
        entries = reversed((await self._storage.read()).events)
        found = [
            entry
            for entry in entries
            if (after is None or entry.id < after[0])
            and wanted.actor_id in (None, entry.event.actor_id)
            and wanted.subject in (None, entry.event.subject)
            and wanted.name in (None, entry.event.name)
        ]
        return Page(found[:limit], next=(found[limit - 1].id,) if len(found) > limit else None)

    async def ready(self) -> list[str]:
        return list(self._storage.down)


def _is_in(wanted: PostList, details: PostDetails, now: datetime) -> bool:  # posts only
    post, is_public = details.post, details.visibility is Visibility.PUBLIC
    return (
        (wanted.owner_id is None or post.owner_id == wanted.owner_id)
        and (wanted.published is None or is_public == wanted.published)
        and may_read(wanted.viewer, post.owner_id, details.visibility, now)
        and (not wanted.terms or _matches(post, wanted.terms))
    )


def _matches(post: Post, terms: tuple[Term, ...]) -> bool:  # posts only
    words = words_of(f"{post.content.title} {post.content.content}".lower())
    return all(_has(words, term) for term in terms)


def _has(words: tuple[str, ...], term: Term) -> bool:  # posts only
    *wanted, last = (word.lower() for word in term.words)
    return any(
        list(words[at : at + len(wanted)]) == wanted
        and (word.startswith(last) if term.prefix else word == last)
        for at, word in enumerate(words[len(wanted) :])
    )
