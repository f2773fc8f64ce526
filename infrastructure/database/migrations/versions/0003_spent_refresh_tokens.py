"""Refresh tokens that were used, to know them again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "spent_refresh_tokens",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("session_id", ID, nullable=False),
        sa.Column("spent_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_spent_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name="fk_spent_refresh_tokens_session_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_spent_refresh_tokens_session_id", "spent_refresh_tokens", ["session_id"])


def downgrade() -> None:
    op.drop_table("spent_refresh_tokens")
