"""The command `gatepost`. What one command alone needs is imported when that command runs."""

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import SecretStr

from api.middleware import FIELDS_MAX, HEAD_MAX
from application.jobs import JobService
from application.ports.jobs import Job, JobId
from application.services import build_services
from domain.addresses import normal_address
from domain.errors import DomainError
from domain.users import Role, UnverifiedAddress, UserDraft
from infrastructure import server
from infrastructure.clock import system_clock
from infrastructure.database import schema
from infrastructure.database.driver.addresses import sqlite_path
from infrastructure.database.driver.statements import Database
from infrastructure.metrics import shared_metrics
from infrastructure.protocol import Bounds
from infrastructure.server import configuration, listen
from infrastructure.settings import BadSettings, Settings, load
from infrastructure.tokens import keyfile
from infrastructure.tokens.jose import UnfitKey
from main import build, build_ports, with_database

if TYPE_CHECKING:
    from checks import Finding
    from demo.seeds import Seeded  # posts only

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


_ALONE = re.compile(r'\{\n +("\$ref": "[^"]+")\n +\}')
"""A reference, which takes one line in the OpenAPI document."""


def _output(as_json: bool, value: Any, *lines: str) -> None:
    """Print `value` as JSON, or else `lines`, which have the same content."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gatepost {version('gatepost')}")
        raise typer.Exit


@app.callback()
def gatepost(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Gatepost: users, sessions and more over HTTP.

    Settings come from the environment and from .env, as GATEPOST_….

    Exit codes: 0 done, 1 refused or failed, 2 not a command.
    """


def main() -> None:
    try:
        app()
    except DomainError as error:
        reason = str(error.__cause__ or "").partition("\n")[0]
        fail(f"{error}: {reason}" if reason else str(error))
    except UnfitKey as error:  # of KEYS_FILE; a weak SECRET_KEY raises BadSettings
        fail(f"GATEPOST_KEYS_FILE: {error}")
    except (BadSettings, schema.MigrationFailed) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    for line in message.splitlines():
        print(f"gatepost: {line}", file=sys.stderr)
    sys.exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart when the code changes, for development.")
    ] = False,
) -> None:
    """Serve the API. An embedded SQLite database is migrated first."""
    if reload and workers > 1:
        fail("--reload serves with one process: leave --workers out")
    settings = load()
    if not schema.serves(asyncio.run(_revision(settings))):
        if not sqlite_path(settings.database):
            from checks import DOWN

            fail(f"migrations: {DOWN['migrations']}")
        schema.migrate(settings.database)
    try:
        listeners = listen(host, port)
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {error.strerror}")
    config = configuration(
        "main:build",
        host=host,
        workers=workers,
        bounds=Bounds(HEAD_MAX, FIELDS_MAX),
        fastpath=settings.fastpath == "on",
    )
    os.environ["WEB_CONCURRENCY"] = str(workers)  # each worker uses its share of the cores
    with ExitStack() as stack:
        if workers > 1 and settings.has_metrics:
            try:
                stack.enter_context(shared_metrics())
            except OSError:
                fail(
                    "GATEPOST_METRICS: several workers need a directory for temporary files;"
                    " set TMPDIR, or METRICS=off"
                )
        url = f"http://{f'[{host}]' if ':' in host else host}:{listeners[0].getsockname()[1]}"
        print(f"Gatepost serves {url}\nTry it out at {url}/docs", flush=True)
        if reload:
            from infrastructure.reload import Reloader

            Reloader(config, server.Server(config).run, listeners).run()
        else:
            sys.exit(server.serve(config, listeners))


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest revision."""
    at = schema.migrate(load().database)
    newer = "" if at == schema.newest() else ", newer than this code, and was not changed"
    print(f"The schema is at revision {at}{newer}")


@app.command()
def create_admin(
    email: Annotated[str, typer.Argument(help="The address of the new or promoted admin.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Promote a user with an unverified address.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset-password", help="Replace the password.")] = False,
) -> None:
    """Register an admin, or promote the user with this address. A promotion keeps the password.

    A user whose address is unverified may be a stranger: the command refuses to promote them
    without --unverified. --reset-password also revokes all sessions, which locks a stranger out.
    """

    async def work(database: Database) -> str:
        services = build_services(build_ports(settings, database))
        password = _new_password(password_stdin) if reset else None
        admins = services.administration
        if await admins.make_admin(address, unverified=unverified, password=password):
            return f"{address} is an admin now, the password {'replaced' if password else 'kept'}"
        password = password or _new_password(password_stdin)
        await services.accounts.register(UserDraft(email=address), password, Role.ADMIN)
        return f"{address} is registered as an admin"

    settings, address = load(), normal_address(email)
    try:
        print(asyncio.run(with_database(settings, work)))
    except UnverifiedAddress as error:
        fail(f"{error}; --unverified --reset-password makes it yours")


def _new_password(from_stdin: bool) -> str:
    if not from_stdin:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        fail("the password is not UTF-8")


keys_app = typer.Typer(help="The keys in KEYS_FILE that sign access tokens.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("new")
def new_key(as_json: AsJson = False) -> None:
    """Make a key for ALGORITHM. It signs after the next start; older keys still verify."""
    settings = load()
    key = keyfile.add(_keys_file(settings), settings.algorithm, system_clock())
    values = {"kid": key.kid, "algorithm": key.algorithm}
    next_step = "Restart all processes to sign with it"
    _output(as_json, values, f"{key.kid}  {key.algorithm}", next_step)


@keys_app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, newest last."""
    settings = load()
    keys = keyfile.listed(_keys_file(settings), settings.algorithm)
    _output(as_json, keys, *("  ".join(value or "-" for value in key.values()) for key in keys))


# A key's name may start with a hyphen.
@keys_app.command("retire", context_settings={"ignore_unknown_options": True})
def retire_key(
    kid: Annotated[str, typer.Argument(help="The `kid` shown by `gatepost keys list`.")],
) -> None:
    """Remove a key. Its tokens are invalid after the next start."""
    settings = load()
    keyfile.retire(_keys_file(settings), kid, settings.algorithm)
    print(f"{kid} is retired; restart all processes to invalidate its tokens")


def _keys_file(settings: Settings) -> Path:
    if settings.keys_file is None:
        raise BadSettings("GATEPOST_KEYS_FILE: not set; it must name the file for the keys")
    return settings.keys_file


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    settings = load()
    if settings.secret_key is None and not settings.in_production:
        # Nothing is signed here, so no secret needs to be generated and stored.
        settings = settings.model_copy(update={"secret_key": SecretStr(secrets.token_urlsafe(48))})
    document = json.dumps(build(settings).openapi(), indent=2, ensure_ascii=False)
    print(_ALONE.sub(r"{\1}", document))


@app.command()
def check(as_json: AsJson = False) -> None:
    """Check settings, secrets, schema and servers for production; exit 1 if there are errors."""

    from checks import findings

    async def find(database: Database) -> "list[Finding]":
        return await findings(settings, build_ports(settings, database), database)

    settings = load()
    found = asyncio.run(with_database(settings, find))
    has_errors = any(finding.kind == "error" for finding in found)
    last_line = [] if has_errors else ["No errors found"]
    _output(as_json, [asdict(finding) for finding in found], *map(str, found), *last_line)
    if has_errors:
        sys.exit(1)


@app.command("rules")
def list_rules(as_json: AsJson = False) -> None:
    """List the rules of the domain in their order, each with its error and where it stands."""
    from catalogue import rules

    found = rules()
    lines = []
    for rule in found:
        pairs = zip(rule.errors, rule.statuses, strict=True)
        errors = ", ".join(f"{error} ({status})" for error, status in pairs)
        lines.append(f"{rule.rules:28}  {rule.name:32}  {errors or '-':26}  {rule.place}")
    _output(as_json, [asdict(rule) for rule in found], *lines)


@app.command("errors")
def list_errors(as_json: AsJson = False) -> None:
    """List every error code with its status and meaning."""
    from catalogue import errors

    found = errors()
    lines = (f"{error.status}  {error.code:26}  {error.meaning}" for error in found)
    _output(as_json, [asdict(error) for error in found], *lines)


@app.command()  # posts only
def seed(
    users: Annotated[int, typer.Option(min=3, help="How many users to add.")] = 100,
    posts: Annotated[int, typer.Option(min=0, help="How many posts to add.")] = 1000,
    number: Annotated[int, typer.Option("--seed", help="The same number gives the same data.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Add demo data: users of every role with one password, posts, drafts and votes."""
    from rich.progress import MofNCompleteColumn, Progress

    from demo import seeds

    settings = load()
    if settings.in_production:
        fail("there is no demo data in production (GATEPOST_ENVIRONMENT)")
    seeded: Seeded | None = None

    def show(so_far: "Seeded") -> None:
        nonlocal seeded
        seeded = so_far
        bar.update(task, completed=so_far.posts)

    async def work(database: Database) -> None:
        ports = build_ports(settings, database)
        await seeds.seed(database, ports, users, posts, number=number, on_batch=show)

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    try:
        with Progress(*columns, disable=as_json or not sys.stdout.isatty()) as bar:
            task = bar.add_task("Posts", total=posts)
            asyncio.run(with_database(settings, work))
    finally:
        # Even if it fails halfway: the users added so far stay, and only this run has the password.
        if seeded:
            values = asdict(seeded)
            emails = [f"  {role:10} {email}" for role, email in seeded.emails.items()]
            counts = (f"{values[kind]:,} {kind}" for kind in ("users", "posts", "drafts", "votes"))
            password = f"All of these users have the password {seeded.password}"
            _output(as_json, values, f"Added {', '.join(counts)}", password, *emails)


@app.command("jobs")
def show_jobs(
    again: Annotated[
        int | None, typer.Option("--again", metavar="ID", help="Have this job done now, first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs that failed, with the reason, and those that wait.

    A job that failed stays until `--again` or until a month has passed.
    """

    async def work(database: Database) -> Sequence[Job]:
        service = JobService(build_ports(settings, database))
        if again is not None:
            await service.again(JobId(again))
        return await service.jobs()

    settings = load()
    jobs = asyncio.run(with_database(settings, work))
    lines = [
        f"{job.id:>8}  {job.state:8}  {job.kind:24}  {job.attempts:>3} attempts"
        f"  due {job.due_at:%Y-%m-%d %H:%M:%S}  {job.error or ''}".rstrip()
        for job in jobs
    ]
    values = [
        {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "attempts": job.attempts,
            "due_at": job.due_at.isoformat(),
            "error": job.error,
        }
        for job in jobs
    ]
    _output(as_json, values, *(lines or ["There are no jobs"]))


@app.command("purge")
def purge_database(as_json: AsJson = False) -> None:
    """Delete what has expired: sessions, codes, tokens, audit events and more.

    It is safe to run while the service runs, which does the same once a day by itself.
    """
    settings = load()
    from infrastructure.database import purge

    work = partial(purge.purge, now=system_clock(), audit_days=settings.audit_days)
    kinds = asdict(asyncio.run(with_database(settings, work)))
    _output(as_json, kinds, *(f"{n:>10,} {kind.replace('_', ' ')}" for kind, n in kinds.items()))


async def _revision(settings: Settings) -> str | None:
    """The revision of the database's schema. Raises as `build_ports` does for bad settings."""

    async def read(database: Database) -> str | None:
        build_ports(settings, database)
        return await schema.revision(database)

    return await with_database(settings, read)
