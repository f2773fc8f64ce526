"""The host that a letter goes to, so that several to one host do not hold up the others."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("host", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "host")
