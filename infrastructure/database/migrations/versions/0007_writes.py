"""A count of each user's writes, by which a replica is known to have seen them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("users", sa.Column("writes", NUMBER, server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("users", "writes")
