"""What sessions were proved by, and since when users have a second factor."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sessions", sa.Column("methods", sa.String(), server_default="pwd", nullable=False)
    )
    op.add_column(
        "sessions",
        sa.Column(
            "last_proof_at",
            sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite"),
            nullable=True,
        ),
    )
    op.add_column(
        "sessions",
        sa.Column(
            "last_factor_proof_at",
            sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite"),
            nullable=True,
        ),
    )
    op.add_column(
        "users",
        sa.Column(
            "second_factor_since",
            sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite"),
            nullable=True,
        ),
    )


def downgrade() -> None:
    op.drop_column("users", "second_factor_since")
    op.drop_column("sessions", "last_factor_proof_at")
    op.drop_column("sessions", "last_proof_at")
    op.drop_column("sessions", "methods")
