"""The command `gatepost`."""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from api.users import email_address
from application.services import Services, build_services
from domain.errors import DomainError
from domain.users import Role, UserDraft
from infrastructure.clock import system_clock
from infrastructure.database import schema
from infrastructure.database.engine import sqlite_path
from infrastructure.metrics import shared_metrics
from infrastructure.settings import BadSettings, Settings, load
from infrastructure.tokens import keyfile
from infrastructure.tokens.jose import UnfitKey
from main import build, build_database, build_ports

T = TypeVar("T")

app = typer.Typer(
    help="Gatepost: users, sessions and posts over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    try:
        app()
    except DomainError as error:
        reason = str(error.__cause__ or "").partition("\n")[0]
        fail(f"{error}: {reason}" if reason else str(error))
    except (BadSettings, UnfitKey, schema.MigrationFailed) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    for line in message.splitlines():
        print(f"gatepost: {line}", file=sys.stderr)
    sys.exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
) -> None:
    """Serve the API. An embedded SQLite database is migrated first."""
    settings = load()
    if asyncio.run(_revision(settings)) != schema.newest():
        if not sqlite_path(settings.database):
            fail(f"migrations: {_HARM['migrations']}")
        schema.migrate(settings.database)
    listener = _listen(host, port)
    config = uvicorn.Config(
        "main:build",
        factory=True,
        host=host,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=10,
        # A worker that starts on a busy machine takes longer than uvicorn's five seconds to answer
        # its parent, which would then replace it, again and again.
        timeout_worker_healthcheck=30,
    )
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listener.getsockname()[1]}"
    print(f"Gatepost serves {url}\nTry it out at {url}/docs", flush=True)
    if workers == 1:
        uvicorn.Server(config).run(sockets=[listener])
    else:
        with shared_metrics() if settings.has_metrics else nullcontext():
            Multiprocess(config, sockets=[listener]).run()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Here, so that nobody else can, and that whoever reads the address may connect at once.
        listener.listen(2048)
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {error.strerror}")
    listener.set_inheritable(True)
    return listener


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest revision."""
    schema.migrate(load().database)
    print(f"The schema is at revision {schema.newest()}")


@app.command()
def create_admin(
    email: Annotated[str, typer.Argument(help="An address that exists is promoted.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Make an admin: a new user, or one that exists, who keeps their password."""

    async def promote(services: Services) -> bool:
        return await services.administration.make_admin(email) is not None

    async def register(services: Services) -> None:
        await services.accounts.register(UserDraft(email=email), password, Role.ADMIN)

    settings = load()
    try:
        email = email_address(email)
    except ValueError as error:
        fail(f"EMAIL: {error}")
    if asyncio.run(_with_services(settings, promote)):
        print(f"{email} is an admin now, with the same password as before")
        return
    if password_stdin:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            fail("the password is not UTF-8")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    asyncio.run(_with_services(settings, register))
    print(f"{email} is registered as an admin")


keys_app = typer.Typer(help="The keys in KEYS_FILE that sign access tokens.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("new")
def new_key() -> None:
    """Make a key for ALGORITHM: it signs from the next start on, and the others still verify."""
    settings = load()
    key = keyfile.add(_keys_file(settings), settings.algorithm, system_clock())
    print(f"{key.kid}  {key.algorithm}\nIt signs once all processes are started anew")


@keys_app.command("list")
def list_keys() -> None:
    """Show the keys, the newest last."""
    settings = load()
    kept = keyfile.read(_keys_file(settings))
    signs = [entry for entry in kept if entry.key.algorithm == settings.algorithm][-1:]
    for entry in kept:
        made = datetime.fromtimestamp(entry.made, UTC).isoformat() if entry.made else "-"
        use = "signs" if entry in signs else "verifies"
        print(f"{entry.key.kid}  {entry.key.algorithm}  {made}  {use}")


# A key's name may start with a hyphen.
@keys_app.command("retire", context_settings={"ignore_unknown_options": True})
def retire_key(
    kid: Annotated[str, typer.Argument(help="As `gatepost keys list` shows it.")],
) -> None:
    """Take a key away: its tokens are dead from the next start on."""
    settings = load()
    path = _keys_file(settings)
    of_algorithm = [
        entry.key.kid for entry in keyfile.read(path) if entry.key.algorithm == settings.algorithm
    ]
    if of_algorithm[-1:] == [kid]:
        fail(f"{kid} signs; make another key first, with `gatepost keys new`")
    keyfile.retire(path, kid)
    print(f"{kid} is retired; its tokens are dead once all processes are started anew")


def _keys_file(settings: Settings) -> Path:
    if settings.keys_file is None:
        raise BadSettings("GATEPOST_KEYS_FILE: not set; it names the file with the keys")
    return settings.keys_file


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    print(json.dumps(build().openapi(), indent=2, ensure_ascii=False))


@app.command()
def check() -> None:
    """Tell what would hurt in production; exit 1 if anything would."""
    settings = load()
    down = asyncio.run(_with_services(settings, lambda services: services.what_is_down()))
    harms = [f"{part}: {_HARM[part]}" for part in down]
    if not settings.in_production:
        harms.append("GATEPOST_ENVIRONMENT: development; e-mail addresses stand in the log")
    if settings.secret_key is None:
        harms.append("GATEPOST_SECRET_KEY: not set; the one in use lies in a file")
    if settings.bcrypt_cost < 12:
        harms.append(f"GATEPOST_BCRYPT_COST: {settings.bcrypt_cost} is too cheap, 12 is the least")
    if sqlite_path(settings.database):
        print("remark: SQLite serves one machine; PostgreSQL is for more")
    if settings.smtp_url is None:
        print("remark: GATEPOST_SMTP_URL is not set; mails are printed, tokens and all")
    for harm in harms:
        print(f"harm: {harm}")
    if harms:
        sys.exit(1)
    print("Nothing here would hurt in production")


_HARM = {
    "database": "it does not answer, or does not let us in",
    "migrations": "the schema is not at the newest revision, run `gatepost migrate`",
}


async def _revision(settings: Settings) -> str | None:
    """The schema's, of a database that answers; with settings that the service can start with."""
    database = build_database(settings)
    await database.open()
    try:
        build_ports(settings, database)
        return await schema.revision(database)
    finally:
        await database.close()


async def _with_services(settings: Settings, use: Callable[[Services], Awaitable[T]]) -> T:
    database = build_database(settings)
    await database.open()
    try:
        return await use(build_services(build_ports(settings, database)))
    finally:
        await database.close()
