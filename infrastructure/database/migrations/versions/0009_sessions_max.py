"""At most 100 sessions of a user go on, and an index that has only those that were not revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = "ix_sessions_user_id_unrevoked"
UNREVOKED = sa.text("revoked_at IS NULL")
NOW = {
    "postgresql": "now()",
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
}
END_SURPLUS = """
UPDATE sessions SET revoked_at = {now} WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY user_id ORDER BY last_used_at DESC, id DESC
        ) AS place
        FROM sessions WHERE revoked_at IS NULL AND expires_at > {now}
    ) AS going_on WHERE place > 100
)
"""


def upgrade() -> None:
    op.execute(END_SURPLUS.format(now=NOW[op.get_bind().dialect.name]))
    op.create_index(
        NAME, "sessions", ["user_id"], postgresql_where=UNREVOKED, sqlite_where=UNREVOKED
    )


def downgrade() -> None:
    op.drop_index(NAME, "sessions")
