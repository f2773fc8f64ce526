"""Addresses that are pending, and codes and letters that know whose they are."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("users", sa.Column("pending_email", sa.String(), nullable=True))
    for name in ("email", "email_key"):
        op.add_column("one_time_codes", sa.Column(name, sa.String(), nullable=True))
    op.create_index("ix_one_time_codes_email_key", "one_time_codes", ["email_key"])
    op.add_column("outbox", sa.Column("user_id", ID, nullable=True))
    op.add_column("outbox", sa.Column("added_at", MOMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "added_at")
    op.drop_column("outbox", "user_id")
    op.drop_index("ix_one_time_codes_email_key", "one_time_codes")
    op.drop_column("one_time_codes", "email_key")
    op.drop_column("one_time_codes", "email")
    op.drop_column("users", "pending_email")
