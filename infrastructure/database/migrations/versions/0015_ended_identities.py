"""Identities whose user deleted the account: tokens issued until then are dead."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ended_identities",
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_ended_identities"),
    )


def downgrade() -> None:
    op.drop_table("ended_identities")
