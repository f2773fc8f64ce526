"""How many connections a PostgreSQL server allows, and whether our role is a superuser."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, cast, column, func, select, table, true

from infrastructure.database.driver.statements import Database

_ROLES = table("pg_roles", column("rolname"), column("rolsuper"), column("rolconnlimit"))
_DATABASES = table("pg_database", column("datname"), column("datconnlimit"))


@dataclass(frozen=True, slots=True)
class ServerLimits:
    connections: int
    """Allowed at the same time for all workers on all machines together."""
    is_superuser: bool


def _setting(name: str) -> ColumnElement[int]:
    """Zero when this server has no such setting."""
    return func.coalesce(cast(func.current_setting(name, true()), Integer), 0)


_CAPACITY = (
    select(
        # NULLs, which stand for no limit, are passed over.
        func.least(
            _setting("max_connections")
            - _setting("superuser_reserved_connections")
            - _setting("reserved_connections"),
            func.nullif(_ROLES.c.rolconnlimit, -1),
            func.nullif(_DATABASES.c.datconnlimit, -1),
        ),
        _ROLES.c.rolsuper,
    )
    .join_from(_ROLES, _DATABASES, true())
    .where(_ROLES.c.rolname == func.current_user(), _DATABASES.c.datname == func.current_database())
)


async def server_limits(database: Database) -> ServerLimits:
    """The limits of the PostgreSQL server of `database`."""
    ((connections, is_superuser),) = await database.fetch(_CAPACITY)
    return ServerLimits(connections, is_superuser)
