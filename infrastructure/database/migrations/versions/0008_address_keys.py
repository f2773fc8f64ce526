"""Keys of addresses: domains by their A-label, local parts in lower case, not case-folded.

Changes no table. Only addresses with a character outside ASCII have another key than before.
"""

import unicodedata
from collections.abc import Callable

import idna
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

USERS = sa.table("users", sa.column("id"), sa.column("email"), sa.column("email_key"))


def upgrade() -> None:
    recompute(new_key)


def downgrade() -> None:
    recompute(old_key)


def recompute(key_of: Callable[[str], str]) -> None:
    connection = op.get_bind()
    is_postgresql = connection.dialect.name == "postgresql"
    size = sa.func.octet_length if is_postgresql else sa.func.length
    as_bytes = USERS.c.email if is_postgresql else sa.cast(USERS.c.email, sa.LargeBinary)
    not_ascii = sa.select(USERS).where(size(as_bytes) != sa.func.length(USERS.c.email))
    for id_, email, key in connection.execute(not_ascii.order_by(USERS.c.id)).all():
        new = key_of(email)
        taken = sa.select(USERS.c.id).where(USERS.c.email_key == new, USERS.c.id != id_)
        # Two accounts may have had two keys for what is one address now: the older one gets it.
        if new != key and connection.execute(taken).first() is None:
            connection.execute(sa.update(USERS).where(USERS.c.id == id_).values(email_key=new))


def new_key(email: str) -> str:
    """As `domain.addresses.email_key` was at this revision."""
    local, at, domain = email.strip().rpartition("@")
    local = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).lower())
    try:
        label = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except UnicodeError:
        label = domain.lower()
    return f"{local}{at}{label}"


def old_key(email: str) -> str:
    return unicodedata.normalize("NFKC", email).casefold()
