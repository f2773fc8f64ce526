"""Votes that count themselves, search and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")

# Triggers, so that the votes of a user who is deleted are counted off too.
POSTGRESQL_VOTES = [
    """CREATE FUNCTION count_vote() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE posts SET votes = votes + 1 WHERE id = NEW.post_id;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER count_vote AFTER INSERT ON votes
    FOR EACH ROW EXECUTE FUNCTION count_vote()""",
    # The posts are locked in one order: two who do this at once never wait for each other.
    """CREATE FUNCTION discount_votes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM 1 FROM posts WHERE id IN (SELECT post_id FROM gone)
            ORDER BY id FOR NO KEY UPDATE;
        UPDATE posts SET votes = votes - lost.number
            FROM (SELECT post_id, count(*) AS number FROM gone GROUP BY post_id) AS lost
            WHERE id = lost.post_id;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER discount_votes AFTER DELETE ON votes
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION discount_votes()""",
]
SQLITE_VOTES = [
    """CREATE TRIGGER count_vote AFTER INSERT ON votes BEGIN
        UPDATE posts SET votes = votes + 1 WHERE id = NEW.post_id;
    END""",
    """CREATE TRIGGER discount_vote AFTER DELETE ON votes BEGIN
        UPDATE posts SET votes = votes - 1 WHERE id = OLD.post_id;
    END""",
]


def on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def upgrade() -> None:
    for statement in POSTGRESQL_VOTES if on_postgresql() else SQLITE_VOTES:
        op.execute(statement)
    op.execute(
        "UPDATE posts SET votes = (SELECT count(*) FROM votes WHERE votes.post_id = posts.id)"
    )


def downgrade() -> None:
    if on_postgresql():
        op.execute("DROP TRIGGER count_vote ON votes")
        op.execute("DROP TRIGGER discount_votes ON votes")
        op.execute("DROP FUNCTION count_vote")
        op.execute("DROP FUNCTION discount_votes")
    else:
        op.execute("DROP TRIGGER count_vote")
        op.execute("DROP TRIGGER discount_vote")
