"""The audit can be asked for an actor, a subject and a name."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = ("actor_id", "subject", "name")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(f"ix_events_{column}_id", "events", [column, "id"])


def downgrade() -> None:
    for column in reversed(COLUMNS):
        op.drop_index(f"ix_events_{column}_id", "events")
