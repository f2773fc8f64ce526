"""The network that each session began in: what an account is known to be used from."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("network", sa.String(), nullable=True))
    # An IPv4 address is its own network; those of IPv6 are known again with the next login.
    op.execute("UPDATE sessions SET network = ip WHERE ip NOT LIKE '%:%'")
    op.create_index("ix_sessions_user_id_network", "sessions", ["user_id", "network"])
    op.drop_index("ix_sessions_user_id", "sessions")


def downgrade() -> None:
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.drop_index("ix_sessions_user_id_network", "sessions")
    op.drop_column("sessions", "network")
