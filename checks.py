"""What `gatepost check` finds: settings, secrets, schema, pools and upstream servers.

This module is part of the composition root: it reads the same settings and calls the same adapters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from stat import S_ISVTX
from typing import Literal
from urllib.parse import unquote, urlsplit

from application.outages import (
    DatabaseUnavailable,
    TakesNoChanges,  # posts only
)
from application.services import Ports
from infrastructure.common_passwords import is_common
from infrastructure.database import schema
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.notifications import LISTENERS
from infrastructure.database.driver.postgresql import PostgresDatabase  # posts only
from infrastructure.database.driver.server_limits import server_limits
from infrastructure.database.driver.statements import Database
from infrastructure.database.users import admins_without_factor, password_prefixes
from infrastructure.passkeys import relying_party
from infrastructure.passwords import PEPPER_ID_LENGTH, pepper_id
from infrastructure.settings import PREFIX, Settings
from infrastructure.tokens import keyfile

DOWN = {
    "database": "it does not answer, or refuses the login",
    "migrations": "the schema is not at the newest revision, run `gatepost migrate`",
}
"""An explanation for each name that `Queries.ready` returns."""

_KEY_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Literal["error", "warning"]
    """An error must be fixed before production. A warning may be intended."""
    about: str
    """The name of a setting, or `database`, or `migrations`."""
    text: str
    """Contains no secret."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}: {self.text}"


async def findings(settings: Settings, ports: Ports, database: Database) -> list[Finding]:
    """All findings, warnings first. `database` must be open. Closes the adapters of `ports`.

    Raises `UnfitKey` if KEYS_FILE cannot be used.
    """
    down = await ports.queries.ready()
    found = [Finding("error", part, await _reason(part, database)) for part in down]
    found += [*_settings(settings), *_unused(settings), *_others(settings)]
    found += _keys(settings, ports.clock())
    if sqlite_path(settings.database):
        found.append(_warning("DATABASE_URL", "SQLite serves one machine; PostgreSQL is for more"))
    else:
        found += _database_password(settings.database)
        if "database" not in down:
            found += await _database_role(database, settings.database_connections + LISTENERS)
    if settings.replica:  # posts only
        found += await _replica(settings.replica)
    if not down:
        found += await _peppers(database, settings.peppers)
        found += await _admins(settings, database)
    upstreams = {"REDIS_URL": ports.limits, "SMTP_URL": ports.mailer, "ISSUER": ports.tokens}
    for setting, adapter in upstreams.items():
        if problem := await adapter.check():
            found.append(_error(setting, problem))
    for adapter in ports.adapters:
        await adapter.close()
    return sorted(found, key=lambda finding: finding.kind, reverse=True)  # warnings first


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


def _error(setting: str, text: str) -> Finding:
    return Finding("error", f"{PREFIX}{setting}", text)


def _warning(setting: str, text: str) -> Finding:
    return Finding("warning", f"{PREFIX}{setting}", text)


def _settings(settings: Settings) -> Iterator[Finding]:
    if not settings.in_production:
        yield _error("ENVIRONMENT", "development; the log contains e-mail addresses")
    if settings.secret_key is None:
        yield _error("SECRET_KEY", "not set; a secret was generated and stored in a file")
    if settings.webhooks_private == "on":
        yield _error("WEBHOOKS_PRIVATE", "on; webhooks reach the network of the service")
    if settings.bcrypt_cost < 12:
        yield _error("BCRYPT_COST", f"{settings.bcrypt_cost} is too cheap, the minimum is 12")
    if settings.rate_limits == "off":
        yield _error("RATE_LIMITS", "off; passwords can be guessed without limit")
    elif settings.redis_url is None:
        yield _warning("REDIS_URL", "not set; each worker counts limits separately")
    if settings.smtp_url is None:
        yield _error("SMTP_URL", "not set; no mail is sent in production")
        if settings.notices == "on":
            yield _warning("NOTICES", "on without SMTP_URL; no notice is sent")
    elif "mail_from" not in settings.model_fields_set:
        yield _error("MAIL_FROM", f"not set; mails are sent from {settings.mail_from}")


def _unused(settings: Settings) -> Iterator[Finding]:
    """Findings about settings that have no effect beside the others."""
    limits = [name for name in Settings.model_fields if name.startswith("limit_")]
    tokens = settings.tokens
    without_effect = {
        "TOKENS=jose": (tokens in ("opaque", "issuer"), ["algorithm", "keys_file"]),
        "TOKENS=jose and issuer": (tokens == "opaque", ["issuer", "audience"]),
        "TOKENS=issuer": (tokens in ("jose", "opaque"), ["jwks_url", "email_verified_text"]),
        "TOKENS=jose and opaque": (
            tokens == "issuer",
            ["access_token_ttl", "refresh_token_ttl", "refresh_grace", "session_ttl"],
        ),
        "RATE_LIMITS=on": (settings.rate_limits == "off", ["redis_url", *limits]),
        "SMTP_URL": (settings.smtp_url is None, ["mail_from"]),
        "METRICS=on": (not settings.has_metrics, ["metrics_token"]),
    }
    for condition, (is_unused, names) in without_effect.items():
        for name in names if is_unused else ():
            if name in settings.model_fields_set:
                yield _warning(name.upper(), f"set, but only used with {condition}")


def _others(settings: Settings) -> Iterator[Finding]:
    """Findings about the sites, proxies and networks that can reach the service."""
    if settings.in_production and settings.has_metrics and settings.metrics_token is None:
        yield _warning("METRICS", "on without METRICS_TOKEN; anybody can read /metrics")
    party = relying_party(settings.public_url, in_production=settings.in_production)
    if party is None and settings.fresh_for is not None:
        missing = "is no domain" if settings.public_url else "not set"
        yield _warning("PUBLIC_URL", f"{missing}; there are no passkeys, which need a site")
    if settings.public_url and not settings.public_url.startswith("https:"):
        yield _error("PUBLIC_URL", "not https; the pages that mails link to can be tampered with")
    for origin in settings.cors_origins:
        if not origin.startswith("https:"):
            yield _error("CORS_ORIGINS", f"{origin} is not https; its pages can be tampered with")
    for network in map(ip_network, settings.trusted_proxies):
        if network.prefixlen < (8 if network.version == 4 else 16):
            yield _error("TRUSTED_PROXIES", f"with {network}, clients can forge their address")


def _keys(settings: Settings, now: datetime) -> Iterator[Finding]:
    if settings.keys_file is None:
        return
    signing = keyfile.signing(keyfile.read(settings.keys_file), settings.algorithm)
    if signing and signing.made and signing.made < (now - _KEY_LIFE).timestamp():
        made = datetime.fromtimestamp(signing.made, UTC)
        yield _warning("KEYS_FILE", f"the signing key was made on {made:%Y-%m-%d}; replace it")
    mode = settings.keys_file.absolute().parent.stat().st_mode
    if mode & 0o022 and not mode & S_ISVTX:
        yield _error("KEYS_FILE", "other users can write to its directory, and so replace it")


def _database_password(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    password = unquote(parts.password or "")
    if password and (len(password) < 12 or is_common(password)):
        yield _error("DATABASE_URL", "its password is common, or shorter than 12 characters")


async def _peppers(database: Database, configured: Sequence[str]) -> list[Finding]:
    """Counts the hashes whose pepper is not configured: no password matches them."""
    configured_ids = {pepper_id(pepper) for pepper in configured}
    try:
        stored = await password_prefixes(database, PEPPER_ID_LENGTH)
    except DatabaseUnavailable:
        return [_warning("PEPPER", "not compared with the stored hashes: there are too many users")]
    lost = sum(count for id_, count in stored.items() if id_ not in configured_ids)
    text = f"lacks the pepper of {lost} stored hashes; their users cannot log in"
    return [_error("PEPPER", text)] if lost else []


async def _replica(url: str) -> list[Finding]:  # posts only
    replica = PostgresDatabase(url, size=1)
    try:
        await replica.check()
    except TakesNoChanges:
        return []  # a standby is read-only
    except DatabaseUnavailable:
        return [_error("DATABASE_REPLICA_URL", "it does not answer; the primary serves all reads")]
    finally:
        await replica.close()
    return [_error("DATABASE_REPLICA_URL", "it is not a standby; the primary serves all reads")]


async def _admins(settings: Settings, database: Database) -> list[Finding]:
    if settings.fresh_for is None:
        return []
    count = await admins_without_factor(database)
    text = f"{settings.second_factor_for}; admins without a second factor: {count}"
    return [_warning("SECOND_FACTOR_FOR", text)] if count else []


async def _database_role(database: Database, wanted: int) -> list[Finding]:
    server = await server_limits(database)
    text = f"{wanted} for each worker, of {server.connections} that the server allows"
    if wanted > server.connections:
        found = [_error("DATABASE_CONNECTIONS", text)]
    else:
        workers = server.connections // wanted
        text += f": room for {workers} workers"
        found = [_warning("DATABASE_CONNECTIONS", text)]
    if server.is_superuser:
        found.append(_warning("DATABASE_URL", "its user is a superuser, which is not needed"))
    return found
