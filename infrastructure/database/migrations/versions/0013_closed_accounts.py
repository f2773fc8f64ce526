"""Accounts that are closed at once and emptied some time later."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("is_closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    closed = sa.text("is_closed")
    op.create_index(
        "ix_users_closed", "users", ["id"], postgresql_where=closed, sqlite_where=closed
    )


def downgrade() -> None:
    op.execute("DELETE FROM users WHERE is_closed")
    op.drop_index("ix_users_closed", table_name="users")
    op.drop_column("users", "is_closed")
