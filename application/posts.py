"""Posts: writing, reading, editing and deleting them."""

from datetime import datetime

from application.ports.clock import Clock
from application.ports.queries import PostList, Queries, SeenPost
from application.ports.storage import Storage
from domain.events import Event
from domain.pages import Page
from domain.policies import may_change_post, may_read_post
from domain.posts import NotPostOwner, Post, PostDraft, PostId, PostNotFound, write
from domain.users import User


class PostService:
    def __init__(self, *, queries: Queries, storage: Storage, clock: Clock) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock

    async def write(self, draft: PostDraft, author: User) -> SeenPost:
        """Store a new post of `author`. Raises the error of a broken rule."""
        new = write(draft, author=author, now=self._clock())
        async with self._storage() as uow:
            post = await uow.posts.add(new)
            uow.record(_event("post_written", post, author, post.created_at))
            await uow.commit()
        return SeenPost(post=post, owner_name=author.name, votes=0, voted=False)

    async def list(self, wanted: PostList) -> Page[SeenPost]:
        """A page of the posts that the viewer may read. Raises `InvalidCursor`."""
        return await self._queries.posts(wanted)

    async def read(self, post_id: PostId, reader: User) -> SeenPost:
        """Raises `PostNotFound`, for a draft that the reader may not know of too."""
        return readable(await self._queries.post(post_id, reader.id), post_id, reader)

    async def edit(self, post_id: PostId, draft: PostDraft, editor: User) -> SeenPost:
        """Make the post say `draft`. Raises `PostNotFound` or the error of a broken rule."""
        async with self._storage() as uow:
            seen = readable(await uow.posts.get(post_id, editor.id), post_id, editor)
            seen.post.edit(draft, editor=editor, now=self._clock())
            await uow.posts.save(seen.post)
            uow.record(_event("post_edited", seen.post, editor, seen.post.updated_at))
            await uow.commit()
        return seen

    async def delete(self, post_id: PostId, editor: User) -> None:
        """Raises `PostNotFound` or `NotPostOwner`."""
        async with self._storage() as uow:
            post = readable(await uow.posts.get(post_id, editor.id), post_id, editor).post
            if not may_change_post(editor, post.owner_id):
                raise NotPostOwner
            await uow.posts.remove(post)
            uow.record(_event("post_deleted", post, editor, self._clock()))
            await uow.commit()


def _event(name: str, post: Post, actor: User, at: datetime) -> Event:
    return Event(name=name, actor_id=actor.id, subject=f"post:{post.id}", at=at)


def readable(seen: SeenPost | None, post_id: PostId, reader: User) -> SeenPost:
    """`seen`, or `PostNotFound`: a hidden draft and a missing post are one answer."""
    if seen is None or not may_read_post(reader, seen.post.owner_id, published=seen.post.published):
        raise PostNotFound(post_id)
    return seen
