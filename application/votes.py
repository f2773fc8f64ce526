"""Votes: one for each user and post."""

from application.ports.queries import PostQueries
from application.ports.storage import Storage
from application.posts import ensure_readable
from application.retries import retried
from domain.errors import AlreadyGone
from domain.posts import PostId, PostNotFound
from domain.users import User


class VoteService:
    """A vote is no event of the audit: it stands where it was cast, and who takes it back may."""

    def __init__(self, *, queries: PostQueries, storage: Storage) -> None:
        self._queries = queries
        self._storage = storage

    @retried
    async def cast(self, post_id: PostId, voter: User) -> None:
        """Have the voter's vote on the post, cast now or before. Raises `PostNotFound`."""
        seen = ensure_readable(await self._queries.post(post_id, voter), post_id, voter)
        if seen.voted:
            return
        async with self._storage(voter.id) as uow:
            try:
                await uow.votes.add(post_id, voter.id)
            except AlreadyGone:
                raise PostNotFound(post_id) from None
            await uow.commit()

    @retried
    async def withdraw(self, post_id: PostId, voter: User) -> None:
        """Have no vote of the voter on the post. Raises `PostNotFound`."""
        seen = ensure_readable(await self._queries.post(post_id, voter), post_id, voter)
        if not seen.voted:
            return
        async with self._storage(voter.id) as uow:
            await uow.votes.remove(post_id, voter.id)
            await uow.commit()
