"""The composition root: settings -> adapters -> the application."""

import gc
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from api.app import create_app
from application.auth import Lifetimes
from application.services import Ports
from domain.posts import PostOptions
from infrastructure.clock import system_clock
from infrastructure.database.engine import open_database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.statements import Database
from infrastructure.database.unit_of_work import sql_storage
from infrastructure.logs import set_up_logs
from infrastructure.passwords import BcryptPasswords
from infrastructure.settings import Settings, load, secret_key
from infrastructure.tokens.jose import JoseTokens, hs256_key


def build() -> FastAPI:
    """The application that the environment describes. Raises `BadSettings`."""
    settings = load()
    logs = set_up_logs(settings.log_format or ("json" if settings.in_production else "console"))
    database = build_database(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.open()
        _settle_garbage_collector()
        yield
        await database.close()
        logs.stop()

    return create_app(
        build_ports(settings, database),
        cursor_key=_derived_key(settings, "cursors"),
        cors_origins=settings.cors_origins,
        access_log=logs.request,
        log_email=not settings.in_production,
        lifespan=lifespan,
    )


def build_database(settings: Settings) -> Database:
    return open_database(settings.database, connections=settings.database_connections)


def build_ports(settings: Settings, database: Database) -> Ports:
    """Every adapter. Raises `BadSettings`, and `WeakKey` for a secret that can be guessed."""
    return Ports(
        queries=SqlQueries(database),
        storage=sql_storage(database),
        tokens=JoseTokens(
            [hs256_key(secret_key(settings))],
            issuer=settings.issuer,
            audience=settings.audience,
        ),
        passwords=BcryptPasswords(
            cost=settings.bcrypt_cost, pepper=settings.pepper.get_secret_value()
        ),
        clock=system_clock,
        lifetimes=Lifetimes(
            access=timedelta(seconds=settings.access_token_ttl),
            refresh=timedelta(seconds=settings.refresh_token_ttl),
        ),
        password_min=settings.password_min,
        post_options=PostOptions(
            per_day=settings.posts_per_day,
            drafts_until_verified=settings.drafts_until_verified,
        ),
    )


def _derived_key(settings: Settings, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none is ever used for two."""
    return hmac.digest(secret_key(settings), f"gatepost {purpose}".encode(), "sha256")


def _settle_garbage_collector() -> None:
    """What lives as long as the process is not looked at again, and the rest less often.

    docs/decisions/0005-garbage-collector.md has the measurement.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
