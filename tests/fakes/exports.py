from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict  # posts only

from application.ports.exports import Exports, Value
from domain.users import UserId
from tests.fakes.storage import FakeStorage, State


class FakeExports(Exports):
    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    async def of(self, user_id: UserId) -> AsyncIterator[tuple[str, Sequence[Mapping[str, Value]]]]:
        for section in _sections(await self._storage.read(), user_id):
            yield section


def _sections(state: State, user_id: UserId) -> Iterator[tuple[str, list[Mapping[str, Value]]]]:
    posts = [post for post in state.posts.values() if post.owner_id == user_id]  # posts only
    yield (  # posts only
        "posts",
        [{"id": post.id, "version": post.version} | asdict(post.content) for post in posts],
    )
    yield (  # posts only
        "votes",
        [{"post_id": post_id} for post_id, voter in state.votes if voter == user_id],
    )
    sessions = [s for s in state.sessions.values() if s.user_id == user_id]
    yield "sessions", [{"id": s.id, "revoked_at": s.revoked_at, "ip": s.ip} for s in sessions]
    own = [entry for entry in state.events if entry.event.actor_id == user_id]
    yield "events", [{"id": it.id, "name": it.event.name, "ip": it.ip} for it in own]
    subject = f"user:{user_id}"
    others = [it for it in state.events if it.event.subject == subject and it not in own]
    yield "events_by_others", [{"id": it.id, "name": it.event.name} for it in others]
