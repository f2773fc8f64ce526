from collections.abc import Sequence
from datetime import datetime

from application.ports.queries import PostDetails
from application.ports.storage import Posts
from domain.posts import POST_WRITTEN, Post, PostChanged, PostId
from domain.users import UserId
from tests.fakes.storage import FakeRepository


class FakePosts(FakeRepository[Post], Posts):
    kind = Post
    stale = PostChanged

    async def details(self, post_id: PostId, viewer: UserId, now: datetime) -> PostDetails | None:
        state = await self._uow.state()
        post = state.posts.get(post_id)
        return state.details(post, viewer, now) if post else None

    async def recent_post_times(
        self, author: UserId, since: datetime, limit: int
    ) -> Sequence[datetime]:
        events = [entry.event for entry in (await self._uow.state()).events]
        written = [e.at for e in events if e.name == POST_WRITTEN and e.actor_id == author]
        return [at for at in written[::-1][:limit] if at > since]
