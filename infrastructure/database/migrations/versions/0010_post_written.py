"""An index of the events that quotas count."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    written = sa.text("name = 'post_written'")
    op.create_index(
        "ix_events_post_written",
        "events",
        ["actor_id", "id"],
        postgresql_where=written,
        sqlite_where=written,
    )


def downgrade() -> None:
    op.drop_index("ix_events_post_written", table_name="events")
