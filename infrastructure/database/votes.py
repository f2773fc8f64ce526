"""Votes: row and table; `posts.votes` counts them."""

from infrastructure.database.rows import Row, reference, table


class VoteRow(Row, table=True):
    __tablename__ = "votes"

    post_id: int = reference("posts.id", primary_key=True)
    user_id: int = reference("users.id", primary_key=True, index=True)


VOTES = table(VoteRow)
