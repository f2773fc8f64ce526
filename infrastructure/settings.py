"""Settings, from the environment and `.env`. Read by `main`, `cli` and `checks` alone."""

import os
import re
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from secrets import token_urlsafe
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.events import AUDIT_DAYS
from domain.registrations import RegistrationMode
from domain.users import Role
from infrastructure.database.driver.addresses import parse, sqlite_path
from infrastructure.environment import (
    BadEnvironment,
    check_variable,
    read_env_file,
    service_links,
)
from infrastructure.limits import check_redis_url, rate
from infrastructure.mail import check_sender, check_smtp_url
from infrastructure.spellings import issuer, network, origin, root_path
from infrastructure.tokens.jose import UnfitKey, hs256_key
from infrastructure.tracing import check_tracing

PREFIX = "GATEPOST_"
ENV_FILE = ".env"

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")
_JSON_LIST = re.compile(r'\[\s*["\]]')


class BadSettings(Exception):
    """A line for each setting that is wrong; never its value."""


def _secret_key(value: SecretStr) -> SecretStr:
    secrets = _secrets_of(value)
    for secret in secrets:
        hs256_key(secret)
    if len(set(secrets)) < len(secrets):
        raise ValueError("must not have the same secret twice")
    return value


def _secrets_of(value: SecretStr) -> list[bytes]:
    return [part.strip().encode() for part in value.get_secret_value().split(",")]


def _database_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip()
    parse(url)
    return SecretStr(url)


def _redis_url(value: SecretStr) -> SecretStr:
    check_redis_url(value.get_secret_value())
    return value


def _smtp_url(value: SecretStr) -> SecretStr:
    check_smtp_url(value.get_secret_value())
    return value


def _metrics_token(value: SecretStr) -> SecretStr:
    if not _BEARER_TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError("must be a bearer token (RFC 6750, section 2.1) of 16 characters or more")
    return value


def _rate(value: str) -> str:
    rate(value)
    return value


def _audience(value: str) -> str:
    if "," in value or " " in value:
        raise ValueError("must be one name, without commas and spaces")
    return value


def _parts(value: object) -> object:
    """The members of a list; one final comma is let pass."""
    if not isinstance(value, str):
        return value
    if _JSON_LIST.match(value):
        raise ValueError("must be comma-separated, and no JSON")
    return [part.strip() for part in value.strip().removesuffix(",").split(",")]


_Network = Annotated[str, AfterValidator(network)]
_Rate = Annotated[str, AfterValidator(_rate)]
_Origin = Annotated[str, AfterValidator(origin)]
_Issuer = Annotated[str, AfterValidator(issuer)]
_RootPath = Annotated[str, AfterValidator(root_path)]
_CommaSeparated = (NoDecode, BeforeValidator(_parts))


class Settings(BaseSettings):
    """Each field is the environment variable of its name in capitals behind `GATEPOST_`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    environment: Literal["development", "production"] = "development"
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr(
        "sqlite:///gatepost.db"
    )
    database_replica_url: (  # posts only
        Annotated[SecretStr, AfterValidator(_database_url)] | None
    ) = None
    """A PostgreSQL standby that posts are shown from; the same for all instances."""
    database_connections: int = Field(default=16, ge=2, le=100)
    """At most, for each worker."""
    secret_key: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """Or several, comma-separated: the first signs and seals, all of them verify and open."""
    tokens: str = "jose"
    """The technology of access tokens, by its name in `main.TOKENS`."""
    algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    keys_file: Path | None = None
    issuer: _Issuer = "gatepost"
    """The `iss` of tokens; with TOKENS=issuer, the provider's address."""
    audience: Annotated[str, AfterValidator(_audience)] = "gatepost"
    jwks_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Unset: as the provider's discovery document says."""
    email_verified_text: _Issuer | None = None
    """The provider, spelled as ISSUER, whose `email_verified` may be the text "true"."""
    access_token_ttl: int = Field(default=3600, ge=1, le=86_400)
    """Seconds."""
    refresh_token_ttl: int = Field(default=30 * 86_400, ge=1, le=366 * 86_400)
    """Seconds that a session lasts without a refresh."""
    refresh_grace: int = Field(default=10, ge=0, le=60)
    """Seconds that the refresh token rotated last is still answered."""
    session_ttl: int = Field(default=90 * 86_400, ge=1, le=3660 * 86_400)
    """Seconds that a session lasts at most, however often it is refreshed."""
    second_factors: Literal["on", "off"] = "on"
    """Whether strong login is there: its routes, and fresh sessions where a route asks for one."""
    second_factor_for: Literal["none", "staff", "all"] = "none"
    """Who must have a second factor; `staff` are moderators and admins."""
    fresh_seconds: int = Field(default=600, ge=30, le=86_400)
    """Seconds that a proof keeps a session fresh."""
    bcrypt_cost: int = Field(default=12, ge=4, le=16)
    pepper: SecretStr = SecretStr("")
    """Or several, comma-separated: the first hashes new passwords, the others still verify."""
    password_min: int = Field(default=12, ge=10, le=64)
    """Characters; the list of common passwords begins at ten."""
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] | None = None
    """Unset: mails are printed."""
    mail_from: Annotated[str, AfterValidator(check_sender)] = "Gatepost <gatepost@localhost>"
    public_url: _Origin | None = None
    """The site that mails link to, for people."""
    registration: RegistrationMode = RegistrationMode.OPEN
    notices: Literal["on", "off"] = "on"
    """Whether users are told by mail of changes to their account."""
    posts_per_day: int | None = Field(default=None, ge=1)  # posts only
    """Posts of a member in 24 hours; unset: no limit."""
    drafts_until_verified: bool = False  # posts only
    """Whether what members write stays a draft until they have verified their address."""
    trusted_proxies: Annotated[list[_Network], *_CommaSeparated] = []
    root_path: _RootPath = ""
    """The prefix of paths that a proxy takes off."""
    cors_origins: Annotated[list[_Origin], *_CommaSeparated] = []
    rate_limits: Literal["on", "off"] = "on"
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """Unset: every worker counts for itself."""
    limit_logins: _Rate = "60/minute"
    limit_login_failures: _Rate = "10/minute"
    limit_account_failures: _Rate = "100/hour"
    limit_token_guesses: _Rate = "60/minute"  # noqa: S105  a limit
    limit_refreshes: _Rate = "60/minute"
    limit_registrations: _Rate = "20/hour"
    limit_resets: _Rate = "20/hour"
    limit_account_resets: _Rate = "5/hour"
    limit_writes: _Rate = "120/minute"
    limit_session_endings: _Rate = "30/minute"
    audit_days: int = Field(default=AUDIT_DAYS, ge=1, le=36_500)
    """Days after which `gatepost purge` deletes an event of the audit."""
    drain_seconds: int | None = Field(default=None, ge=0, le=300)
    """From SIGTERM to the end of listening; unset: 5 in production, none in development."""
    webhooks_private: Literal["on", "off"] = "off"
    """Whether webhooks may lead to addresses that are not public, for development and tests."""
    console: Literal["on", "off"] = "on"
    """Whether browsers may log in, and have pages."""
    fastpath: Literal["on", "off"] = "on"
    """Whether our accelerated routes and writes serve, or the framework's own."""
    log_format: Literal["console", "json"] | None = None
    """Unset: console in development, json in production."""
    metrics: Literal["on", "off"] | None = None
    """Unset: on in development, off in production."""

    metrics_token: Annotated[SecretStr, AfterValidator(_metrics_token)] | None = None
    """Unset: `/metrics` is public."""

    @property
    def in_production(self) -> bool:
        return self.environment == "production"

    @property
    def drain(self) -> int:
        default = 5 if self.in_production else 0
        return default if self.drain_seconds is None else self.drain_seconds

    @property
    def has_metrics(self) -> bool:
        return self.metrics == "on" or (self.metrics is None and not self.in_production)

    @property
    def metrics_secret(self) -> str | None:
        return self.metrics_token.get_secret_value() if self.metrics_token else None

    @property
    def fresh_for(self) -> timedelta | None:
        """None: strong login is off. An outside provider's tokens have no session to be fresh."""
        is_on = self.second_factors == "on" and self.tokens != "issuer"
        return timedelta(seconds=self.fresh_seconds) if is_on else None

    @property
    def second_factor_roles(self) -> frozenset[Role]:
        """The roles whose users must have a second factor."""
        if self.fresh_for is None or self.second_factor_for == "none":
            return frozenset()
        everybody = frozenset(Role)
        return everybody if self.second_factor_for == "all" else everybody - {Role.MEMBER}

    @property
    def peppers(self) -> list[str]:
        """The newest first; the last is none at all, so that one can be introduced."""
        given = (part.strip() for part in self.pepper.get_secret_value().split(","))
        return [*filter(None, given), ""]

    @property
    def database(self) -> str:
        """The database's URL, password and all."""
        return self.database_url.get_secret_value()

    @property  # posts only
    def replica(self) -> str | None:
        """The replica's URL. Raises `BadSettings` unless it and the database are PostgreSQL."""
        if self.database_replica_url is None:
            return None
        url = self.database_replica_url.get_secret_value()
        if sqlite_path(url) or sqlite_path(self.database):
            raise BadSettings(
                f"{PREFIX}DATABASE_REPLICA_URL: must be a standby of a PostgreSQL DATABASE_URL"
            )
        return url


def load() -> Settings:
    """The settings of this process, of which the environment comes before the file.

    Raises `BadSettings`.
    """
    environment = {name.upper(): value for name, value in os.environ.items()}
    fields_by_variable = {f"{PREFIX}{name}".upper(): name for name in Settings.model_fields}
    problems = []
    try:
        in_file = {name.upper(): value for name, value in read_env_file(Path(ENV_FILE)).items()}
        for name in fields_by_variable.keys() & environment.keys():
            check_variable(name, environment[name])
    except BadEnvironment as error:
        raise BadSettings(str(error)) from None
    given = {*environment, *in_file} - service_links(environment, PREFIX)
    problems += [
        f"{name}: there is no such setting" + _suggestion(name, fields_by_variable)
        for name in sorted(given - fields_by_variable.keys())
        if name.startswith(PREFIX)
    ]
    from_file: dict[str, Any] = {
        field: in_file[name]
        for name, field in fields_by_variable.items()
        if in_file.get(name) and not environment.get(name)
    }
    try:
        settings = Settings(**from_file)
    except ValidationError as error:
        problems += [
            f"{PREFIX}{str(detail['loc'][0]).upper()}: "
            + detail["msg"].removeprefix("Value error, ")
            for detail in error.errors()
        ]
    problems += check_tracing(os.environ)
    if problems:
        raise BadSettings("\n".join(problems))
    return settings


def _suggestion(name: str, candidates: Iterable[str]) -> str:
    close = get_close_matches(name, candidates, 1, cutoff=0.8)
    return f"; do you mean {close[0]}?" if close else ""


def secret_keys(settings: Settings) -> list[bytes]:
    """The secrets, the newest first: it signs and seals, and all of them verify and open.

    In development one is made at first need and kept in a file that only its owner can read, beside
    the database. Raises `BadSettings` in production without one.
    """
    if settings.secret_key is not None:
        return _secrets_of(settings.secret_key)
    if settings.in_production:
        raise BadSettings(f"{PREFIX}SECRET_KEY: required in production, 32 random bytes or more")
    database = sqlite_path(settings.database)
    file = (database or Path("gatepost")).with_suffix(".secret")
    try:
        if not file.exists():
            _keep(file, token_urlsafe(48))
        secret = file.read_bytes().strip()
        hs256_key(secret)
    except OSError as error:
        raise BadSettings(f"{PREFIX}SECRET_KEY: {file}: {error.strerror}") from error
    except UnfitKey as error:
        raise BadSettings(f"{PREFIX}SECRET_KEY: {file}: {error}") from error
    return [secret]


def _keep(file: Path, secret: str) -> None:
    """Write `file`, mode 0600, whole or not at all; whoever comes second leaves it as it is."""
    with NamedTemporaryFile("w", dir=file.parent, prefix=file.name) as temporary:
        temporary.write(secret + "\n")
        temporary.flush()
        try:
            os.link(temporary.name, file)
        except FileExistsError:
            return
