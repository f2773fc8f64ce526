"""From a URL to a database."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from infrastructure.database.driver.connections import hosts, split_cache_size
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.sqlite import SqliteDatabase
from infrastructure.database.driver.statements import Database

SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite:///relative` or `sqlite:////absolute` URL; None for another kind."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def check_url(url: str) -> str:
    """`url`, or ValueError, without the url, when it is not one of a database that we know."""
    with suppress(ValueError):  # which would tell what it could not read
        is_ours = urlsplit(url).scheme in ("postgresql", "postgres")
        every_host = hosts(split_cache_size(url)[0])
        server = is_ours and all(urlsplit(host).port != 0 for host in every_host)
        file = (sqlite_path(url) or Path()).name
        if server or (file and file != ":memory:"):
            return url
    raise ValueError("must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")


TIME_BUDGET = 1.5
"""Seconds, so that a request that the database keeps waiting is answered within two."""


def open_database(url: str, *, connections: int = 5, timeout: float = TIME_BUDGET) -> Database:
    """The database at `url`, not connected yet."""
    if path := sqlite_path(url):
        return SqliteDatabase(path, timeout=timeout)
    return PostgresDatabase(url, size=connections, timeout=timeout)
