"""Votes: row and repository. Triggers keep the number of votes in `posts.votes`."""

from sqlalchemy import bindparam, delete
from sqlalchemy.dialects.postgresql import insert

from application.ports.storage import Votes
from domain.posts import PostId
from domain.users import UserId
from infrastructure.database.driver.exported import OWNER, Exported
from infrastructure.database.driver.rows import Row, reference, table
from infrastructure.database.driver.statements import Transaction


class VoteRow(Row, table=True):
    __tablename__ = "votes"

    post_id: int = reference("posts.id", primary_key=True)
    user_id: int = reference("users.id", primary_key=True, index=True)


VOTES = table(VoteRow)
EXPORTED = (
    Exported("votes", [VOTES.c.post_id], owned=VOTES.c.user_id == OWNER, key=VOTES.c.post_id),
)

# The construct of the dialect PostgreSQL; SQLite's compiler renders it with the same syntax.
_ADD = (
    insert(VOTES)
    .values(post_id=bindparam("post_id"), user_id=bindparam("user_id"))
    .on_conflict_do_nothing()
)
_REMOVE = delete(VOTES).where(
    VOTES.c.post_id == bindparam("post_id"), VOTES.c.user_id == bindparam("user_id")
)


class SqlVotes(Votes):
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def add(self, post_id: PostId, voter: UserId) -> None:
        self._transaction.defer(_ADD, post_id=post_id, user_id=voter)

    async def remove(self, post_id: PostId, voter: UserId) -> None:
        self._transaction.defer(_REMOVE, post_id=post_id, user_id=voter)
