"""Writes the next revision from the difference between rows and schema: `make migration NAME=...`.

The file is a draft to be read: data, and changes of columns that SQLite cannot make in place, are
for its author to add.
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic import command
from sqlalchemy import Connection
from sqlmodel.sql.sqltypes import AutoString

from infrastructure.database import schema
from infrastructure.database.driver.rows import Instant, Json, Words

_NAME = re.compile(r"[a-z0-9_]+")


def generate(name: str) -> None:
    """Write the revision called `name`; nothing if rows and schema agree. Raises ValueError for a
    name that is not made of a-z, 0-9 and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("NAME must be made of a-z, 0-9 and _: make migration NAME=bookmarks")

    def compare(connection: Connection) -> None:
        config = schema.config()
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        config.attributes["connection"] = connection
        config.attributes["options"] = {
            "render_as_batch": False,
            "render_item": _rendered,
            "include_name": has_a_row,
            "process_revision_directives": _without_empty,
        }
        message = f"{name.replace('_', ' ').capitalize()}."
        number = f"{int(schema.newest()) + 1:04}"
        command.revision(config, message=message, autogenerate=True, rev_id=number)
        for written in schema.MIGRATIONS.glob(f"versions/{number}_*.py"):
            lines = written.read_text().splitlines(keepends=True)
            written.write_text("".join(line for line in lines if "# ###" not in line))

    with TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'schema.db'}"
        schema.migrate(url)
        schema.run(url, compare)


def has_a_row(name: str | None, kind: str, *_: object) -> bool:
    """Whether a table is described by a row."""
    others = (
        "alembic_version",
        "sqlite_sequence",
        "posts_search",  # posts only
    )
    return kind != "table" or not str(name).startswith(others)


def _rendered(kind: str, item: object, _context: object) -> str | bool:
    """Types by what a migration may name: the code of a later release may not have ours."""
    if kind == "type" and isinstance(item, Instant):
        return 'sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")'
    if kind == "type" and isinstance(item, AutoString | Json | Words):
        return "sa.String()"
    return False


def _without_empty(_context: object, _revision: object, directives: list[Any]) -> None:
    if directives[0].upgrade_ops.is_empty():
        directives.clear()
        sys.stdout.write("Rows and schema agree: no migration is needed\n")


if __name__ == "__main__":
    try:
        generate(sys.argv[1])
    except ValueError as error:
        sys.exit(str(error))
