"""The nonce that derives a session's refresh token from the one before it."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("refresh_nonce", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "refresh_nonce")
