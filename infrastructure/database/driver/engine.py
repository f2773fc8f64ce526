"""From a URL to a database."""

from infrastructure.database.driver.addresses import SqliteAddress, parse
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.sqlite import SqliteDatabase
from infrastructure.database.driver.statements import Database

TIME_BUDGET = 1.5
"""Seconds, so that a request that the database keeps waiting is answered within two."""


def open_database(url: str, *, connections: int = 5, timeout: float = TIME_BUDGET) -> Database:
    """The database at `url`, not connected yet. Raises `BadAddress`."""
    address = parse(url)
    if isinstance(address, SqliteAddress):
        return SqliteDatabase(address.path, timeout=address.timeout or timeout)
    return PostgresDatabase(url, size=connections, timeout=timeout)
