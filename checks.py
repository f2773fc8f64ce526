"""What would hurt in production: settings, secrets, schema, pools, and whom the service relies on.

Beside the composition root, because it looks at the same settings and asks the same adapters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from stat import S_ISVTX
from typing import Literal
from urllib.parse import unquote, urlsplit

from application.services import Ports
from infrastructure.common_passwords import is_common
from infrastructure.database import schema
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.postgresql import PostgresDatabase
from infrastructure.database.driver.server_limits import server_limits
from infrastructure.database.driver.statements import Database, DatabaseUnavailable, TakesNoChanges
from infrastructure.database.users import password_prefixes
from infrastructure.passwords import PEPPER_ID_LENGTH, pepper_id
from infrastructure.settings import PREFIX, Settings
from infrastructure.tokens import keyfile

DOWN = {
    "database": "it does not answer, or does not let us in",
    "migrations": "the schema is not at the newest revision, run `gatepost migrate`",
}
"""What each part means that `Queries.ready` names."""

_KEY_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Literal["harm", "remark"]
    """A remark is on what may be meant."""
    about: str
    """A setting's name, or `database` or `migrations`."""
    text: str
    """Never with a secret in it."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}: {self.text}"


async def findings(settings: Settings, ports: Ports, database: Database) -> list[Finding]:
    """All that is found, the remarks first. `database` is open. Raises `UnfitKey` for what is
    wrong with KEYS_FILE.
    """
    down = await ports.queries.ready()
    found = [Finding("harm", part, await _reason(part, database)) for part in down]
    found += [*_settings(settings), *_others(settings)]
    found += _keys(settings, ports.clock())
    if sqlite_path(settings.database):
        found.append(_remark("DATABASE_URL", "SQLite serves one machine; PostgreSQL is for more"))
    else:
        found += _database_password(settings.database)
        if "database" not in down:
            found += await _database_role(database, settings.database_connections)
    if settings.replica:
        found += await _replica(settings.replica)
    if not down:
        found += await _peppers(database, settings.peppers)
    asked = {"REDIS_URL": ports.limits, "SMTP_URL": ports.mailer, "ISSUER": ports.tokens}
    for setting, adapter in asked.items():
        if problem := await adapter.check():
            found.append(_harm(setting, problem))
    for adapter in ports.adapters:
        await adapter.close()
    return sorted(found, key=lambda finding: finding.kind, reverse=True)


async def _reason(part: str, database: Database) -> str:
    """Why `part` is down."""
    try:
        await schema.revision(database)
        await database.check()
    except schema.ForeignSchema as error:
        return str(error)
    except DatabaseUnavailable as error:
        reason = str(error.__cause__ or "").partition("\n")[0]
        return f"{DOWN[part]}: {reason}" if reason else DOWN[part]
    return DOWN[part]


def _harm(setting: str, text: str) -> Finding:
    return Finding("harm", f"{PREFIX}{setting}", text)


def _remark(setting: str, text: str) -> Finding:
    return Finding("remark", f"{PREFIX}{setting}", text)


def _settings(settings: Settings) -> Iterator[Finding]:
    if not settings.in_production:
        yield _harm("ENVIRONMENT", "development; e-mail addresses stand in the log")
    if settings.secret_key is None:
        yield _harm("SECRET_KEY", "not set; the one in use lies in a file")
    if settings.bcrypt_cost < 12:
        yield _harm("BCRYPT_COST", f"{settings.bcrypt_cost} is too cheap, 12 is the least")
    if settings.rate_limits == "off":
        yield _harm("RATE_LIMITS", "off; passwords may be guessed as fast as they are checked")
    elif settings.redis_url is None:
        yield _remark("REDIS_URL", "not set; each worker counts for itself what limits allow")
    if settings.smtp_url is None:
        yield _harm("SMTP_URL", "not set; in production no mail is sent")
    elif "mail_from" not in settings.model_fields_set:
        yield _harm("MAIL_FROM", f"not set; mails come from {settings.mail_from}")


def _others(settings: Settings) -> Iterator[Finding]:
    """Of who else has a hand in it: sites, proxies, those on the way."""
    if settings.in_production and settings.has_metrics and settings.metrics_token is None:
        yield _remark("METRICS", "on without METRICS_TOKEN; whoever reaches the port sees /metrics")
    if settings.public_url and not settings.public_url.startswith("https:"):
        yield _harm("PUBLIC_URL", "not https; links in mails lead where pages can be tampered with")
    for origin in settings.cors_origins:
        if not origin.startswith("https:"):
            yield _harm("CORS_ORIGINS", f"{origin} is not https; its pages can be tampered with")
    for network in map(ip_network, settings.trusted_proxies):
        if network.prefixlen < (8 if network.version == 4 else 16):
            yield _harm("TRUSTED_PROXIES", f"with {network}, clients may claim to be anywhere")


def _keys(settings: Settings, now: datetime) -> Iterator[Finding]:
    if settings.keys_file is None:
        return
    signing = keyfile.signing(keyfile.read(settings.keys_file), settings.algorithm)
    if signing and signing.made and signing.made < (now - _KEY_LIFE).timestamp():
        made = datetime.fromtimestamp(signing.made, UTC)
        yield _remark("KEYS_FILE", f"the key that signs is of {made:%Y-%m-%d}; see `gatepost keys`")
    mode = settings.keys_file.absolute().parent.stat().st_mode
    if mode & 0o022 and not mode & S_ISVTX:
        yield _harm("KEYS_FILE", "others may write to its directory, and so replace it")


def _database_password(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    password = unquote(parts.password or "")
    if password and (len(password) < 12 or is_common(password)):
        yield _harm("DATABASE_URL", "its password is a common one, or shorter than 12 characters")


async def _peppers(database: Database, configured: Sequence[str]) -> list[Finding]:
    """Hashes that were made with a pepper that is not configured: no password fits them."""
    known = {pepper_id(pepper) for pepper in configured}
    try:
        stored = await password_prefixes(database, PEPPER_ID_LENGTH)
    except DatabaseUnavailable:
        return [_remark("PEPPER", "there are too many users to compare their hashes with it")]
    lost = sum(count for id_, count in stored.items() if id_ not in known)
    text = f"lacks the pepper of {lost} stored hashes; their users cannot log in"
    return [_harm("PEPPER", text)] if lost else []


async def _replica(url: str) -> list[Finding]:
    replica = PostgresDatabase(url, size=1)
    try:
        await replica.check()
    except TakesNoChanges:
        return []  # as a standby does
    except DatabaseUnavailable:
        return [_harm("DATABASE_REPLICA_URL", "it does not answer; the primary serves all reads")]
    finally:
        await replica.close()
    return [_harm("DATABASE_REPLICA_URL", "it is no standby; the primary serves all reads")]


async def _database_role(database: Database, wanted: int) -> list[Finding]:
    server = await server_limits(database)
    text = f"{wanted} a worker, of {server.connections} that the server has for us"
    if wanted > server.connections:
        found = [_harm("DATABASE_CONNECTIONS", text)]
    else:
        workers = server.connections // wanted
        text += f": room for {workers} workers"
        found = [_remark("DATABASE_CONNECTIONS", text)]
    if server.is_superuser:
        found.append(_remark("DATABASE_URL", "its user is a superuser, and need not be"))
    return found
