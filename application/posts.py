"""Posts: writing, reading, editing and deleting them."""

from datetime import datetime

from application.ports.clock import Clock
from application.ports.queries import PostDetails, PostList, PostQueries
from application.ports.storage import IdempotencyRecord, Storage, UnitOfWork
from application.retries import retried
from domain.events import Event
from domain.idempotency import LIFE, IdempotencyKeyReused, fingerprint
from domain.pages import Page
from domain.policies import may_read_post
from domain.posts import (
    DAY,
    Deleting,
    Post,
    PostDraft,
    PostId,
    PostNotFound,
    PostOptions,
    PostPatch,
    Writing,
    check_deletion,
    write,
)
from domain.users import User

Versions = frozenset[int] | None
"""Those that a change may be made to; None: whichever it is."""


class PostService:
    def __init__(
        self, *, queries: PostQueries, storage: Storage, clock: Clock, options: PostOptions
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock
        self._options = options

    @retried
    async def write(self, draft: PostDraft, author: User) -> PostDetails:
        """Store a new post of `author`. Raises the error of a broken rule."""
        async with self._storage(author.id) as uow:
            seen = await self._write(uow, draft, author)
            await uow.commit()
        return seen

    @retried
    async def write_once(
        self, draft: PostDraft, author: User, key: str
    ) -> tuple[PostDetails, bool]:
        """As `write`, but for the same `key` again the first answer again, and True with it.

        Raises `IdempotencyKeyReused` for another draft, `IdempotencyKeyInUse` while the first
        still runs. Nothing is kept of what was refused.
        """
        now = self._clock()
        async with self._storage(author.id) as uow:
            kept = await uow.idempotency.claim(author.id, key, now - LIFE)
            asked = fingerprint(draft)
            if kept is not None:
                if kept.asked != asked:
                    raise IdempotencyKeyReused
                # The first commit may have been cut short before all copies of the database had
                # it. This one comes after it, so what is said now lasts.
                await uow.idempotency.save(kept)
                await uow.commit()
                return kept.answer, True
            seen = await self._write(uow, draft, author)
            await uow.idempotency.save(
                IdempotencyRecord(user_id=author.id, key=key, asked=asked, answer=seen, at=now)
            )
            await uow.commit()
        return seen, False

    async def _write(self, uow: UnitOfWork, draft: PostDraft, author: User) -> PostDetails:
        now = self._clock()
        quota = self._options.quota_of(author)
        written = await uow.posts.written(author.id, now - DAY, quota) if quota else ()
        writing = Writing(
            draft=draft,
            author=author,
            now=now,
            options=self._options,
            written=written,
        )
        post = await uow.posts.add(write(writing))
        uow.record(_event("post_written", post, author, post.created_at))
        return PostDetails(post=post, owner_name=author.name, votes=0, voted=False)

    async def list(self, wanted: PostList) -> Page[PostDetails]:
        """A page of the posts that the viewer may read. Raises `InvalidCursor`."""
        return await self._queries.posts(wanted)

    async def read(self, post_id: PostId, reader: User) -> PostDetails:
        """Raises `PostNotFound`, for a draft that the reader may not know of too."""
        return ensure_readable(await self._queries.post(post_id, reader), post_id, reader)

    @retried
    async def edit(
        self,
        post_id: PostId,
        change: PostDraft | PostPatch,
        editor: User,
        known: Versions = None,
    ) -> PostDetails:
        """Make the post say what `change` wants. Raises `PostNotFound` or the error of a broken
        rule; `PostChanged` when its version is none of `known`.
        """
        async with self._storage(editor.id) as uow:
            seen = ensure_readable(await uow.posts.get(post_id, editor.id), post_id, editor)
            if seen.post.edit(
                change, editor=editor, now=self._clock(), known=known, options=self._options
            ):
                await uow.posts.save(seen.post)
                uow.record(_event("post_edited", seen.post, editor, seen.post.updated_at))
                await uow.commit()
        return seen

    @retried
    async def delete(self, post_id: PostId, editor: User, known: Versions = None) -> None:
        """Raises `PostNotFound` or the error of a broken rule, as `edit` does."""
        async with self._storage(editor.id) as uow:
            post = ensure_readable(await uow.posts.get(post_id, editor.id), post_id, editor).post
            check_deletion(Deleting(post=post, editor=editor, known=known))
            await uow.posts.remove(post)
            uow.record(_event("post_deleted", post, editor, self._clock()))
            await uow.commit()


def _event(name: str, post: Post, actor: User, at: datetime) -> Event:
    return Event(name=name, actor_id=actor.id, subject=f"post:{post.id}", at=at)


def ensure_readable(seen: PostDetails | None, post_id: PostId, reader: User) -> PostDetails:
    """`seen`, or `PostNotFound`: a hidden draft and a missing post are one answer."""
    if seen is None or not may_read_post(reader, seen.post.owner_id, published=seen.post.published):
        raise PostNotFound(post_id)
    return seen
