"""From a URL to a database."""

from infrastructure.database.driver.addresses import SqliteAddress, parse
from infrastructure.database.driver.sqlite import SqliteDatabase
from infrastructure.database.driver.statements import Database

TIME_LIMIT = 1.2
"""Seconds that a call may take: a read, or a transaction as a whole. A shared lookup has half of
it, so that authentication and what follows it are answered within two seconds."""


def open_database(url: str, *, connections: int = 5, timeout: float = TIME_LIMIT) -> Database:
    """The database at `url`, not connected yet. Raises `BadAddress`."""
    address = parse(url)
    if isinstance(address, SqliteAddress):
        return SqliteDatabase(address.path, timeout=address.timeout or timeout)
    # Imported here, for who has SQLite: asyncpg is slow to import.
    from infrastructure.database.driver.postgresql import PostgresDatabase

    return PostgresDatabase(url, size=connections, timeout=timeout)
