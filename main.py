"""The composition root: settings -> adapters -> the application."""

import asyncio
import gc
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import (
    TYPE_CHECKING,  # posts only
    Any,
    TypeVar,
)

from fastapi import FastAPI

from api.app import create_app
from application.accounts import REMOVE_CLOSED_ACCOUNTS
from application.jobs import Kind, daily
from application.notices import send_notice
from application.ports.jobs import Job
from application.ports.limits import Limit, Limits
from application.ports.mail import Mailer
from application.ports.passkeys import Passkeys
from application.ports.queries import PostQueries  # posts only
from application.ports.tokens import Tokens
from application.reactions import REACTIONS, without
from application.services import Ports, Services
from application.worker import Worker
from domain.factors import FactorPolicy
from domain.passwords import PasswordPolicy
from domain.posts import PostOptions  # posts only
from domain.sessions import Lifetimes
from infrastructure.clock import system_clock
from infrastructure.common_passwords import is_common
from infrastructure.database.driver.engine import TIME_LIMIT, open_database
from infrastructure.database.driver.statements import Database
from infrastructure.database.jobs import CHANNEL
from infrastructure.database.purge import purge as purge_database
from infrastructure.database.purge import remove_closed_accounts
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.draining import draining_on_signals
from infrastructure.hashing_queue import hashing_threads
from infrastructure.limits import FIXED_RATES, ProcessLimits, SharedLimits, rate
from infrastructure.logs import set_up_logs
from infrastructure.mail import ConsoleMailer, NoMailer, SmtpMailer
from infrastructure.metrics import Metrics
from infrastructure.outgoing import HttpOutgoing
from infrastructure.passkeys import WebAuthnPasskeys, relying_party
from infrastructure.passwords import BcryptPasswords
from infrastructure.proxies import TrustedProxies
from infrastructure.sealer import AesGcmSealer
from infrastructure.settings import PREFIX, BadSettings, Settings, load, secret_keys
from infrastructure.tokens import keyfile
from infrastructure.tokens.jose import JoseTokens, SigningKey, hs256_key
from infrastructure.tokens.opaque import OpaqueTokens
from infrastructure.tokens.personal import WithPersonalTokens
from infrastructure.totp import PyotpCodes
from infrastructure.tracing import close_tracing, open_tracing

if TYPE_CHECKING:  # posts only
    from infrastructure.database.replica import Replica

T = TypeVar("T")


def jose_tokens(settings: Settings, _: Database) -> JoseTokens:
    return JoseTokens(_signing_keys(settings), issuer=settings.issuer, audience=settings.audience)


def issuer_tokens(settings: Settings, _: Database) -> Tokens:
    missing = [name for name in ("issuer", "audience") if name not in settings.model_fields_set]
    if missing:
        raise BadSettings(
            "\n".join(f"{PREFIX}{name.upper()}: required with TOKENS=issuer" for name in missing)
        )
    if not settings.issuer.startswith(("https://", "http://")):
        raise BadSettings(f"{PREFIX}ISSUER: must be the provider's https address")
    urls = (settings.issuer, settings.jwks_url or "https:")
    if settings.in_production and not all(url.startswith("https:") for url in urls):
        raise BadSettings(f"{PREFIX}ISSUER, {PREFIX}JWKS_URL: must be https in production")
    if settings.email_verified_text not in (None, settings.issuer):
        raise BadSettings(f"{PREFIX}EMAIL_VERIFIED_TEXT: must be the provider that ISSUER names")
    # Imported here: the HTTP client is slow to import, and only this technology needs it.
    from infrastructure.tokens.issuer import IssuerTokens
    from infrastructure.tokens.provider_keys import ProviderKeys

    keys = ProviderKeys(
        issuer=settings.issuer,
        jwks_url=settings.jwks_url,
        https_only=settings.in_production,
        clock=system_clock,
    )
    return IssuerTokens(
        issuer=settings.issuer,
        audience=settings.audience,
        keys=keys,
        email_verified_as_text=settings.email_verified_text is not None,
    )


Technologies = Mapping[str, Callable[[Settings, Database], Tokens]]

TOKENS: Technologies = {
    "jose": jose_tokens,
    "issuer": issuer_tokens,
    "opaque": lambda _, database: OpaqueTokens(database),
}
"""The access-token technologies by the name that the setting TOKENS has for them."""


def build(settings: Settings | None = None) -> FastAPI:
    """Build the application from `settings`, by default those of the environment.

    Raises `BadSettings`.
    """
    settings = settings or load()
    logs = set_up_logs(settings.log_format or ("json" if settings.in_production else "console"))
    database = build_database(settings)
    replica = build_replica(settings, database)  # posts only
    ports = build_ports(
        settings,
        database,
        replica=replica,  # posts only
    )
    metrics = (
        Metrics(
            [
                *logs.readings(),
                *database.readings(),
                *(reading for adapter in ports.adapters for reading in adapter.readings()),
            ]
        )
        if settings.has_metrics
        else None
    )
    tracer_provider = open_tracing()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, object]]:
        await database.open()
        worker = build_worker(app.state.services, settings, database)
        work: list[Coroutine[Any, Any, None]] = [
            worker.run_forever(),
            database.listen(CHANNEL, worker.wake_later),
            app.state.services.personal_tokens.note_uses_forever(),
        ]
        if metrics:
            metrics.add(worker.metrics.readings())
            work.append(metrics.read_forever())
        if replica:  # posts only
            work.append(replica.watch())
        tasks = [asyncio.create_task(each) for each in work]
        _settle_garbage_collector()
        draining = asyncio.Event()
        with draining_on_signals(draining.set, seconds=settings.drain):
            yield {"draining": draining}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if replica:  # posts only
            await replica.close()
        await database.close()
        for adapter in ports.adapters:
            await adapter.close()
        if tracer_provider:
            await asyncio.to_thread(close_tracing, tracer_provider)
        logs.stop()

    app = create_app(
        ports,
        cursor_keys=_derived_keys(settings, "cursors"),
        cors_origins=settings.cors_origins,
        access_log=logs.request,
        log_email=not settings.in_production,
        metrics=metrics,
        metrics_token=settings.metrics_secret,
        tracer_provider=tracer_provider,
        lifespan=lifespan,
        fastpath=settings.fastpath == "on",
        root_path=settings.root_path,
        console=settings.console == "on",
        plain_cookies=not settings.in_production,
    )
    if settings.trusted_proxies:
        app.add_middleware(TrustedProxies, networks=settings.trusted_proxies)
    return app


APP_NAME = "Gatepost"
"""The name of this service in authenticator apps."""


def build_worker(services: Services, settings: Settings, database: Database) -> Worker:
    """The worker, with the jobs that are the database's own."""

    async def remove_accounts(_: Services, __: Job) -> None:
        await remove_closed_accounts(database)

    async def purge(_: Services) -> None:
        await purge_database(database, system_clock(), audit_days=settings.audit_days)

    return Worker(
        services,
        kinds=[Kind(name=REMOVE_CLOSED_ACCOUNTS, work=remove_accounts, at_once=1)],
        regular=[daily(purge)],
    )


COMMAND_TIME_LIMIT = 10.0
"""Seconds that a command's call to the database may take. No client waits for it."""


def build_database(settings: Settings, *, timeout: float = TIME_LIMIT) -> Database:
    connections = settings.database_connections
    return open_database(settings.database, connections=connections, timeout=timeout)


async def with_database(settings: Settings, use: Callable[[Database], Awaitable[T]]) -> T:
    """Open the database for a command, return the result of `use`, and close the database."""
    database = build_database(settings, timeout=COMMAND_TIME_LIMIT)
    await database.open()
    try:
        return await use(database)
    finally:
        await database.close()


def build_replica(settings: Settings, database: Database) -> "Replica | None":  # posts only
    if settings.replica is None:
        return None
    from infrastructure.database.driver.postgresql import PostgresDatabase
    from infrastructure.database.replica import Replica

    size = settings.database_connections
    return Replica(PostgresDatabase(settings.replica, size=size, name="the replica"), database)


def build_ports(
    settings: Settings,
    database: Database,
    *,
    replica: "Replica | None" = None,  # posts only
    technologies: Technologies = TOKENS,
) -> Ports:
    """Build every adapter. Raises `BadSettings`, and `UnfitKey` for unfit signing keys."""
    if settings.tokens not in technologies:
        raise BadSettings(f"{PREFIX}TOKENS: must be one of {', '.join(technologies)}")
    tokens = technologies[settings.tokens](settings, database)
    if tokens.has_local_login:
        tokens = WithPersonalTokens(tokens)
    queries = SqlQueries(database)
    return Ports(
        queries=queries,
        storage=SqlStorage(
            database,
            counts_writes=settings.replica is not None,  # posts only
            reactions=REACTIONS if settings.notices == "on" else without(send_notice),
        ),
        replica=_replica_posts(replica, queries),  # posts only
        tokens=tokens,
        passwords=BcryptPasswords(
            cost=settings.bcrypt_cost, peppers=settings.peppers, threads=hashing_threads()
        ),
        limits=build_limits(settings),
        mailer=build_mailer(settings),
        outgoing=HttpOutgoing(
            private=settings.webhooks_private == "on", https_only=settings.in_production
        ),
        sealer=AesGcmSealer(_derived_keys(settings, "sealing")),
        totp=PyotpCodes(APP_NAME),
        clock=system_clock,
        passkeys=build_passkeys(settings),
        public_url=settings.public_url,
        console=f"{settings.root_path}/console" if settings.console == "on" else None,
        notices=settings.notices == "on",
        registration=settings.registration,
        lifetimes=Lifetimes(
            access=timedelta(seconds=settings.access_token_ttl),
            refresh=timedelta(seconds=settings.refresh_token_ttl),
            session=timedelta(seconds=settings.session_ttl),
            grace=timedelta(seconds=settings.refresh_grace),
        ),
        factor_policy=FactorPolicy(
            fresh_for=settings.fresh_for, required_of=settings.second_factor_roles
        ),
        password_policy=PasswordPolicy(minimum=settings.password_min, is_common=is_common),
        post_options=PostOptions(  # posts only
            per_day=settings.posts_per_day,
            drafts_until_verified=settings.drafts_until_verified,
        ),
    )


def _replica_posts(  # posts only
    replica: "Replica | None", primary: PostQueries
) -> PostQueries | None:
    if replica is None:
        return None
    from infrastructure.database.replica import ReplicaPosts

    return ReplicaPosts(replica, primary)


def build_mailer(settings: Settings) -> Mailer:
    if settings.smtp_url is None:
        return NoMailer() if settings.in_production else ConsoleMailer()
    url, sender = settings.smtp_url.get_secret_value(), settings.mail_from
    if settings.console == "off":
        return SmtpMailer(url, sender=sender)
    # Imported here: without the console no template engine is loaded.
    from infrastructure.mail_html import html_of

    return SmtpMailer(url, sender=sender, html=html_of)


def build_passkeys(settings: Settings) -> Passkeys | None:
    """None without second factors, without a login of our own, and without a site for them."""
    if settings.fresh_for is None:
        return None
    party = relying_party(settings.public_url, in_production=settings.in_production)
    return WebAuthnPasskeys(party) if party else None


def _signing_keys(settings: Settings) -> list[SigningKey]:
    """The keys that verify tokens. The last one signs: the newest one for ALGORITHM."""
    path, algorithm = settings.keys_file, settings.algorithm
    keys = [kept.key for kept in keyfile.read(path)] if path else []
    fit = [key for key in keys if key.algorithm == algorithm]
    if not fit and algorithm == "HS256":
        fit = [hs256_key(secret) for secret in reversed(secret_keys(settings))]
    if not fit:
        raise BadSettings(
            f"{PREFIX}KEYS_FILE: a key for {algorithm} is missing; make one with"
            " `gatepost keys new`"
        )
    return [*(key for key in keys if key not in fit), *fit]


def build_limits(settings: Settings) -> Limits:
    if settings.rate_limits == "off":
        return ProcessLimits(FIXED_RATES, system_clock)
    rates = FIXED_RATES | {
        limit: rate(getattr(settings, f"limit_{limit.name.lower()}"))
        for limit in Limit
        if limit not in FIXED_RATES
    }
    if settings.redis_url is None:
        return ProcessLimits(rates, system_clock)
    url = settings.redis_url.get_secret_value()
    return SharedLimits(rates, system_clock, url=url, key=_derived_keys(settings, "limits")[0])


def _derived_keys(settings: Settings, purpose: str) -> list[bytes]:
    """A separate key for each purpose from each of the secret keys, the newest first."""
    text = f"gatepost {purpose}".encode()
    return [hmac.digest(secret, text, "sha256") for secret in secret_keys(settings)]


def _settle_garbage_collector() -> None:
    """Exclude all objects that exist now from collections, and collect less often.

    The measurements are in docs/decisions/0005-garbage-collector.md.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
