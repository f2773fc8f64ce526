"""Posts: writing, reading, editing and deleting them."""

from datetime import datetime

from application.errors import raises
from application.ports.clock import Clock
from application.ports.idempotency import IdempotencyRecord
from application.ports.queries import PostDetails, PostList, PostQueries
from application.ports.storage import Storage, UnitOfWork
from domain.errors import AlreadyGone
from domain.events import Event
from domain.idempotency import LIFE, IdempotencyKeyInUse, IdempotencyKeyReused, fingerprint
from domain.pages import InvalidCursor, Page
from domain.policies import may_read
from domain.posts import (
    DAY,
    POST_WRITTEN,
    Post,
    PostContent,
    PostId,
    PostNotFound,
    PostOptions,
    PostPatch,
    WriteContext,
    check_deletion,
    write,
)
from domain.users import User

Versions = frozenset[int] | None
"""The versions that a change may be applied to; None: any."""


class PostService:
    def __init__(
        self, *, queries: PostQueries, storage: Storage, clock: Clock, options: PostOptions
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock
        self._options = options

    @raises(write, AlreadyGone)
    async def write(self, draft: PostContent, author: User) -> PostDetails:
        """Store a new post of `author`. Raises the error of a broken rule."""

        async def work(uow: UnitOfWork) -> PostDetails:
            written = await self._write(uow, draft, author)
            await uow.commit()
            return written

        return await self._storage.run(work)

    @raises(write, AlreadyGone, IdempotencyKeyReused, IdempotencyKeyInUse)
    async def write_once(
        self, draft: PostContent, author: User, key: str
    ) -> tuple[PostDetails, bool]:
        """As `write`, once for each `key`. A repeated request returns the first answer and True.

        Raises `IdempotencyKeyReused` if the key came with another draft, `IdempotencyKeyInUse` if
        the first request is still running. A refused request stores nothing: its key stays free.
        """
        now = self._clock()

        async def work(uow: UnitOfWork) -> tuple[PostDetails, bool]:
            first = await uow.idempotency.claim(author.id, key, now - LIFE)
            request_hash = fingerprint(draft)
            if first is not None:
                if first.request_hash != request_hash:
                    raise IdempotencyKeyReused
                # The first commit may have been cut short before every copy of the database had
                # it. This one comes after it, so the answer lasts.
                await uow.idempotency.save(first)
                await uow.commit()
                return first.response, True
            written = await self._write(uow, draft, author)
            await uow.idempotency.save(
                IdempotencyRecord(
                    user_id=author.id, key=key, request_hash=request_hash, response=written, at=now
                )
            )
            await uow.commit()
            return written, False

        return await self._storage.run(work)

    async def _write(self, uow: UnitOfWork, draft: PostContent, author: User) -> PostDetails:
        now = self._clock()
        quota = self._options.quota_of(author)
        times = await uow.posts.recent_post_times(author.id, now - DAY, quota) if quota else ()
        context = WriteContext(
            actor=author,
            draft=draft,
            now=now,
            options=self._options,
            recent_post_times=times,
        )
        post = await uow.posts.add(write(context))
        uow.record(Event.of(POST_WRITTEN, f"post:{post.id}", actor_id=author.id, at=now))
        return PostDetails(
            post=post,
            visibility=post.visibility(now),
            owner_name=author.name,
            votes=0,
            voted=False,
        )

    @raises(InvalidCursor)
    async def list(self, wanted: PostList) -> Page[PostDetails]:
        """A page of the posts that the viewer may read. Raises `InvalidCursor`."""
        return await self._queries.posts(wanted, self._clock())

    @raises(PostNotFound)
    async def read(self, post_id: PostId, reader: User) -> PostDetails:
        """Raises `PostNotFound`, also for a draft that `reader` may not read."""
        now = self._clock()
        found = await self._queries.post(post_id, reader, now)
        return ensure_readable(found, post_id, reader, now)

    @raises(PostNotFound, Post.edit)
    async def edit(
        self,
        post_id: PostId,
        patch: PostPatch,
        editor: User,
        expected_versions: Versions = None,
    ) -> PostDetails:
        """Apply `patch` to the post and return the result.

        Raises `PostNotFound` as `read` does, `PostChanged` if the version is not an expected one,
        or the error of a broken rule.
        """
        now = self._clock()

        async def work(uow: UnitOfWork) -> PostDetails:
            found = await uow.posts.details(post_id, editor.id, now)
            details = ensure_readable(found, post_id, editor, now)
            post = details.post
            if post.edit(
                patch,
                actor=editor,
                now=now,
                expected_versions=expected_versions,
                options=self._options,
            ):
                await uow.posts.save(post)
                uow.record(Event.of("post_edited", f"post:{post.id}", actor_id=editor.id, at=now))
                await uow.commit()
            details.visibility = post.visibility(now)
            return details

        return await self._storage.run(work)

    @raises(PostNotFound, check_deletion)
    async def delete(
        self, post_id: PostId, editor: User, expected_versions: Versions = None
    ) -> None:
        """Raises `PostNotFound`, `PostChanged` or the error of a broken rule, as `edit` does."""
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            found = await uow.posts.details(post_id, editor.id, now)
            post = ensure_readable(found, post_id, editor, now).post
            check_deletion(post, actor=editor, now=now, expected_versions=expected_versions)
            await uow.posts.remove(post)
            uow.record(Event.of("post_deleted", f"post:{post.id}", actor_id=editor.id, at=now))
            await uow.commit()

        await self._storage.run(work)


def ensure_readable(
    found: PostDetails | None, post_id: PostId, reader: User, now: datetime
) -> PostDetails:
    """`found`, or `PostNotFound`: a hidden draft and a missing post get the same answer."""
    if found is None or not may_read(reader, found.post.owner_id, found.visibility, now):
        raise PostNotFound(post_id)
    return found
