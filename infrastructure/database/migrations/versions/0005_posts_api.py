"""Votes that count themselves, search and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
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

# A table beside `posts` on both: of a generated column, every vote would write the index anew.
POSTGRESQL_SEARCH = [
    """CREATE TABLE posts_search (
        post_id BIGINT CONSTRAINT pk_posts_search PRIMARY KEY
            CONSTRAINT fk_posts_search_post_id REFERENCES posts ON DELETE CASCADE,
        words tsvector NOT NULL
    )""",
    # Punctuation parts words; else the parser would see e-mail addresses, paths and numbers in it.
    r"""CREATE FUNCTION words_of(title text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT to_tsvector('simple', translate(
            title || ' ' || content, '!"#$%&''()*+,-./\:;<=>?@[\\]^_`{|}~', repeat(' ', 32)))
    $$""",
    "INSERT INTO posts_search SELECT id, words_of(title, content) FROM posts",
    "CREATE INDEX ix_posts_search_words ON posts_search USING gin (words)",
    """CREATE FUNCTION index_post() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO posts_search VALUES (NEW.id, words_of(NEW.title, NEW.content))
            ON CONFLICT (post_id) DO UPDATE SET words = EXCLUDED.words;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER index_post AFTER INSERT OR UPDATE OF title, content ON posts
    FOR EACH ROW EXECUTE FUNCTION index_post()""",
]
SQLITE_SEARCH = [
    "CREATE VIEW posts_text AS SELECT id, title || ' ' || content AS words FROM posts",
    """CREATE VIRTUAL TABLE posts_search USING fts5(
        words, content = 'posts_text', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 0'
    )""",
    "INSERT INTO posts_search (posts_search) VALUES ('rebuild')",
    """CREATE TRIGGER index_post AFTER INSERT ON posts BEGIN
        INSERT INTO posts_search (rowid, words) VALUES (NEW.id, NEW.title || ' ' || NEW.content);
    END""",
    """CREATE TRIGGER index_edited_post AFTER UPDATE OF title, content ON posts BEGIN
        INSERT INTO posts_search (posts_search, rowid, words)
            VALUES ('delete', OLD.id, OLD.title || ' ' || OLD.content);
        INSERT INTO posts_search (rowid, words) VALUES (NEW.id, NEW.title || ' ' || NEW.content);
    END""",
    """CREATE TRIGGER forget_post AFTER DELETE ON posts BEGIN
        INSERT INTO posts_search (posts_search, rowid, words)
            VALUES ('delete', OLD.id, OLD.title || ' ' || OLD.content);
    END""",
]
NO_SEARCH_ON_POSTGRESQL = [
    "DROP TRIGGER index_post ON posts",
    "DROP FUNCTION index_post",
    "DROP TABLE posts_search",
    "DROP FUNCTION words_of",
]
NO_SEARCH_ON_SQLITE = [
    "DROP TRIGGER index_post",
    "DROP TRIGGER index_edited_post",
    "DROP TRIGGER forget_post",
    "DROP TABLE posts_search",
    "DROP VIEW posts_text",
]
NO_VOTES_ON_POSTGRESQL = [
    "DROP TRIGGER count_vote ON votes",
    "DROP TRIGGER discount_votes ON votes",
    "DROP FUNCTION count_vote",
    "DROP FUNCTION discount_votes",
]
NO_VOTES_ON_SQLITE = ["DROP TRIGGER count_vote", "DROP TRIGGER discount_vote"]


def run(on_postgresql: list[str], on_sqlite: list[str]) -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in on_postgresql if is_postgresql else on_sqlite:
        op.execute(statement)


def upgrade() -> None:
    run(POSTGRESQL_VOTES, SQLITE_VOTES)
    op.execute(
        "UPDATE posts SET votes = (SELECT count(*) FROM votes WHERE votes.post_id = posts.id)"
    )
    op.create_index("ix_posts_votes_id", "posts", ["votes", "id"])
    run(POSTGRESQL_SEARCH, SQLITE_SEARCH)
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("asked", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_idempotency_keys_user_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_at", "idempotency_keys", ["at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    run(NO_SEARCH_ON_POSTGRESQL, NO_SEARCH_ON_SQLITE)
    op.drop_index("ix_posts_votes_id", "posts")
    run(NO_VOTES_ON_POSTGRESQL, NO_VOTES_ON_SQLITE)
