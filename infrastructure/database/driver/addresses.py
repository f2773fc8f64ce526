"""Addresses of databases. Each option is honoured, or refused with what to write instead."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import environ
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_SQLITE = "sqlite:///"
_FORMS = "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TARGETS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")

# What asyncpg reads itself, and what it sends to the server.
_CONNECTION = {
    *("host", "port", "user", "password", "passfile", "dbname", "krbsrvname", "gsslib"),
    *("sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslmode", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs"),
}
_SERVER = {
    *("application_name", "options", "search_path", "timezone"),
    *("default_transaction_isolation", "lock_timeout", "statement_timeout"),
}
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")

_NAME = re.compile(r"\w{1,40}", re.ASCII)
_LEAVE_OUT = "leave it out"
_INSTEAD = {
    "client_encoding": f"{_LEAVE_OUT}, it is always UTF-8",
    "connection_limit": "set GATEPOST_DATABASE_CONNECTIONS instead",
    "currentSchema": "write search_path=SCHEMA instead",
    "fallback_application_name": "write application_name=NAME instead",
    "gssencmode": f"{_LEAVE_OUT}, use sslmode",
    "keepalives": f"{_LEAVE_OUT}, every call has a time limit",
    "load_balance_hosts": f"{_LEAVE_OUT}, the hosts are tried in their order",
    "pgbouncer": "write statement_cache_size=0 instead",
    "pool_size": "set GATEPOST_DATABASE_CONNECTIONS instead",
    "pool_timeout": f"{_LEAVE_OUT}, every call has a time limit",
    "prepared_statement_cache_size": "write statement_cache_size=0 instead",
    "require_auth": f"{_LEAVE_OUT}, use sslmode=verify-full",
    "schema": "write search_path=SCHEMA instead",
    "ssl": "write sslmode=require instead",
    "sslaccept": "write sslmode=verify-full instead",
    "sslcompression": _LEAVE_OUT,
    "supa": _LEAVE_OUT,
    "tcp_user_timeout": f"{_LEAVE_OUT}, every call has a time limit",
    "uselibpqcompat": _LEAVE_OUT,
}
_NO_SUCH_OPTION = (
    "there is no such option; a setting of the server goes into options=-c%20NAME%3DVALUE"
)


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    path: Path
    timeout: float | None
    """Seconds to wait for a lock; None: as long as for any other call."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    hosts: tuple[str, ...] = field(repr=False)
    """An address for asyncpg of each host, in the order in which they are tried."""
    statement_cache_size: int
    """0 for pgbouncer in transaction mode, where each statement may meet another server."""
    connect_timeout: float | None
    """Seconds."""


class BadAddress(ValueError):
    """Says what is wrong with an address, and repeats neither it nor a value in it."""


def parse(url: str) -> SqliteAddress | PostgresAddress:
    """Parse `url`. Raises `BadAddress`."""
    reason = _FORMS
    try:
        return _sqlite(url) if url.startswith(_SQLITE) else postgres_address(url)
    except BadAddress as error:
        reason = str(error)
    except ValueError:  # which repeats what it could not read
        pass
    raise BadAddress(reason)


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite:///relative` or `sqlite:////absolute` URL; None for another kind."""
    return _sqlite(url).path if url.startswith(_SQLITE) else None


def _sqlite(url: str) -> SqliteAddress:
    file, _, query = url.removeprefix(_SQLITE).partition("?")
    name = Path(file).name
    if not name or name == ":memory:" or name.startswith("file:"):
        raise BadAddress(_FORMS)
    if file != file.strip():
        raise BadAddress("must have no space at the end of the file's name")
    options = _options(query)
    for option in options.keys() - {"timeout"}:
        raise BadAddress(f"{option}: there is no such option for SQLite, there is only timeout")
    timeout = _number("timeout", options["timeout"]) if "timeout" in options else None
    return SqliteAddress(Path(file), timeout)


def postgres_address(url: str) -> PostgresAddress:
    """Parse a PostgreSQL `url` that `parse` has accepted."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or "@" in parts.query + parts.fragment:
        raise BadAddress(_FORMS)
    options = _options(parts.query)
    size = int(_number("statement_cache_size", options.pop("statement_cache_size", "100")))
    timeout = _number("connect_timeout", options.pop("connect_timeout", "0"))
    if options.get("channel_binding") in ("disable", "prefer"):  # as it is without
        del options["channel_binding"]
    _check(options)
    rest = urlunsplit(parts._replace(query=urlencode(options, quote_via=quote, safe="")))
    account, at, names = parts.netloc.rpartition("@")
    hosts = tuple(
        rest.replace(parts.netloc, f"{account}{at}{name}", 1) for name in names.split(",")
    )
    if any(urlsplit(host).port == 0 for host in hosts):
        raise BadAddress(_FORMS)
    return PostgresAddress(hosts, size, timeout or None)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if not _NAME.fullmatch(name):
            raise BadAddress(_FORMS)
        if name in options:
            raise BadAddress(f"{name}: given twice")
        if not value:
            raise BadAddress(f"{name}: must have a value")
        options[name] = value
    return options


def _number(name: str, value: str) -> float:
    if not value.isascii() or not value.isdecimal():
        raise BadAddress(f"{name}: must be a whole number")
    return int(value)


def _check(options: Mapping[str, str]) -> None:
    """Raise `BadAddress` for the first option that PostgreSQL and asyncpg do not take like this."""
    for name in options:
        if name == "channel_binding":
            raise BadAddress(
                "channel_binding: cannot be required; leave it out, and use sslmode=verify-full"
            )
        if name not in _CONNECTION | _SERVER:
            raise BadAddress(f"{name}: {_INSTEAD.get(name, _NO_SUCH_OPTION)}")
    mode = options.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise BadAddress(f"sslmode: must be one of {', '.join(_SSL_MODES)}")
    if options.get("target_session_attrs", "any") not in _TARGETS:
        raise BadAddress(f"target_session_attrs: must be one of {', '.join(_TARGETS)}")
    if mode.startswith("verify") and not _has_root_certificate(options):
        raise BadAddress(
            f"sslmode={mode}: sslrootcert=FILE has to name the authority's certificate"
        )
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            raise BadAddress(f"{name}: there is no such file")


def _has_root_certificate(options: Mapping[str, str]) -> bool:
    return (
        "sslrootcert" in options
        or "PGSSLROOTCERT" in environ
        or Path("~/.postgresql/root.crt").expanduser().is_file()
    )
