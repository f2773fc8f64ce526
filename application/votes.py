"""Votes: a user has at most one vote for a post."""

from application.errors import raises
from application.ports.clock import Clock
from application.ports.queries import PostDetails, PostQueries
from application.ports.storage import Storage, UnitOfWork
from application.posts import ensure_readable
from domain.errors import AlreadyGone
from domain.posts import PostId, PostNotFound
from domain.users import User


class VoteService:
    """Votes are not audited: they can be withdrawn, and a vote's row names its user."""

    def __init__(self, *, queries: PostQueries, storage: Storage, clock: Clock) -> None:
        self._queries = queries
        self._storage = storage
        self._clock = clock

    @raises(PostNotFound)
    async def cast(self, post_id: PostId, voter: User) -> None:
        """Add the voter's vote, unless it exists. Raises `PostNotFound`."""
        if (await self._readable(post_id, voter)).voted:
            return

        async def work(uow: UnitOfWork) -> None:
            await uow.votes.add(post_id, voter.id)
            await uow.commit()

        try:
            await self._storage.run(work)
        except AlreadyGone:
            raise PostNotFound(post_id) from None

    @raises(PostNotFound)
    async def withdraw(self, post_id: PostId, voter: User) -> None:
        """Remove the voter's vote, if it exists. Raises `PostNotFound`."""
        if not (await self._readable(post_id, voter)).voted:
            return

        async def work(uow: UnitOfWork) -> None:
            await uow.votes.remove(post_id, voter.id)
            await uow.commit()

        await self._storage.run(work)

    async def _readable(self, post_id: PostId, voter: User) -> PostDetails:
        now = self._clock()
        return ensure_readable(await self._queries.post(post_id, voter, now), post_id, voter, now)
