"""A client of the service in the same process, with access to its database."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import bindparam, delete, update

import catalogue
from api.app import create_app
from application.logins import ClientInfo, Login, Logins
from application.ports.limits import Limits
from application.ports.passwords import PasswordHash
from application.ports.queries import Credentials
from application.ports.storage import UnitOfWork
from application.ports.tokens import Tokens
from application.services import Ports, build_services
from domain.addresses import email_key
from domain.events import Event
from domain.factors import FactorPolicy
from domain.passwords import PasswordPolicy
from domain.scopes import Scope
from domain.sessions import Lifetimes, Method
from domain.users import Role, UserDraft, register
from infrastructure.common_passwords import is_common
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.statements import Clause, Database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.sessions import SESSIONS
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.database.users import USERS
from infrastructure.passkeys import RelyingParty, WebAuthnPasskeys
from infrastructure.passwords import BcryptPasswords
from infrastructure.sealer import AesGcmSealer
from infrastructure.tokens.jose import JoseTokens, hs256_key
from infrastructure.tokens.personal import WithPersonalTokens
from infrastructure.totp import PyotpCodes
from tests.api.documented import refuse_undocumented
from tests.authenticator import LOCALHOST
from tests.fakes.limits import FakeLimits
from tests.fakes.mail import FakeMailer
from tests.fakes.outgoing import FakeOutgoing
from tests.secrecy import ASYNC_HOOKS, SECRECY

URL = "http://gatepost"
SECRET = b"tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP"
PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHash(
    "8219d2c7:$2b$04$nhOhqSSefyDvsJLg.h6oM.gS6cRU0.A3Vgo7BEzXcNyo1BFM.mXjy"
)
"""Of `PASSWORD`, by `BcryptPasswords(cost=4)`."""
FASTPATH = os.environ.get("GATEPOST_FASTPATH") != "off"
"""Whether the applications of these tests have the fast path; `make test-plain` takes it out."""
EXTENSIONS = {"second_factor_required": {"challenge", "methods", "expires_in"}}
"""Members of a problem that depend on its code."""
_HOOKS: Any = {**ASYNC_HOOKS, "response": [*ASYNC_HOOKS["response"], refuse_undocumented]}
MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}

on_one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before any database is asked."""

# Module constants, because a compiled statement is kept for good.
_SET_ROLE = (
    update(USERS)
    .values(role=bindparam("to"))
    .where(USERS.c.id == bindparam("key"))
    .returning(USERS.c.id)
)
_SET_EMAIL = (
    update(USERS)
    .values(email=bindparam("to"), email_key=bindparam("to_key"))
    .where(USERS.c.id == bindparam("key"))
    .returning(USERS.c.id)
)
_SET_ACTIVE = (
    update(USERS)
    .values(is_active=bindparam("to"))
    .where(USERS.c.id == bindparam("key"))
    .returning(USERS.c.id)
)
_CALL_TOKENS_IN = (
    update(USERS)
    .values(tokens_valid_from=bindparam("to"))
    .where(USERS.c.id == bindparam("key"))
    .returning(USERS.c.id)
)
_DELETE_USER = delete(USERS).where(USERS.c.id == bindparam("key")).returning(USERS.c.id)
_REVOKE_SESSIONS = (
    update(SESSIONS)
    .values(revoked_at=bindparam("to"))
    .where(SESSIONS.c.user_id == bindparam("key"))
    .returning(SESSIONS.c.id)
)
_EXPIRE_SESSIONS = (
    update(SESSIONS)
    .values(expires_at=bindparam("to"))
    .where(SESSIONS.c.user_id == bindparam("key"))
    .returning(SESSIONS.c.id)
)


def jose_tokens(_: Database) -> Tokens:
    return JoseTokens([hs256_key(SECRET)], issuer="gatepost", audience="gatepost")


class Watch:
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True, kw_only=True)
class Person:
    """A registered user with a token."""

    id: int
    email: str
    name: str | None
    token: str
    refresh_token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(kw_only=True)
class ApiClient:
    """An application, a client of it, and the database behind it."""

    app: FastAPI
    client: httpx.AsyncClient
    ports: Ports
    database: Database
    clock: Watch
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def person(
        self, email: str | None = None, *, name: str | None = "Anna", role: Role = Role.MEMBER
    ) -> Person:
        """Store a user with a session, as registration and login do.

        By HTTP, and with a hash of its own, this would take most of the time of most tests.
        """
        draft = UserDraft(email=email or f"person{next(self._numbers)}@example.com", name=name)
        now, password = self.clock(), PASSWORD_HASH
        client = ClientInfo(user_agent=self.client.headers["User-Agent"], ip="127.0.0.1")
        logins = Logins(tokens=self.ports.tokens, clock=self.clock, lifetimes=Lifetimes())

        async def work(uow: UnitOfWork) -> Login:
            user = await uow.users.add(register(draft, now=now, role=role), password)
            subject = f"user:{user.id}"
            uow.record(Event.of("user_registered", subject, actor_id=None, at=now))
            credentials = Credentials(user=user, password=password)
            login = await logins.start(
                uow, credentials, (Method.PASSWORD,), client, is_new_network=False
            )
            await uow.commit()
            return login

        login = await self.ports.storage.run(work)
        return Person(
            id=login.user.id,
            email=login.user.email,
            name=name,
            token=login.access_token,
            refresh_token=login.refresh_token,
        )

    async def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.client.post("/login", data={"username": email, "password": password})

    async def token(self, person: Person, *scopes: Scope, **members: Any) -> Person:
        """The same person, with a personal token."""
        body = {"name": "script", "scopes": list(scopes)} | members
        answer = await self.client.post("/tokens", json=body, headers=person.headers)
        assert answer.status_code == 201, answer.text
        return replace(person, token=answer.json()["token"])

    async def me(self, person: Person) -> httpx.Response:
        return await self.client.get("/users/me", headers=person.headers)

    async def post(self, author: Person, **members: Any) -> dict[str, Any]:  # posts only
        """What the service says of a post that `author` has just written."""
        body = {"title": "Hello", "content": "First post."} | members
        answer = await self.client.post("/posts", json=body, headers=author.headers)
        assert answer.status_code == 201, answer.text
        post: dict[str, Any] = answer.json()
        return post

    async def change(self, clause: Clause, **values: Any) -> None:
        """Run `clause` behind the service's back."""
        async with self.database.transaction() as transaction:
            assert await transaction.fetch(clause, **values), "nothing was changed"
            await transaction.commit()

    async def set_role(self, person: Person, role: Role) -> None:
        await self.change(_SET_ROLE, key=person.id, to=role.value)

    async def set_email(self, person: Person, email: str) -> None:
        await self.change(_SET_EMAIL, key=person.id, to=email, to_key=email_key(email))

    async def call_tokens_in(self, person: Person, moment: datetime) -> None:
        """Make tokens from before `moment` worthless."""
        await self.change(_CALL_TOKENS_IN, key=person.id, to=moment)

    async def deactivate(self, person: Person) -> None:
        await self.change(_SET_ACTIVE, key=person.id, to=False)

    async def delete(self, person: Person) -> None:
        await self.change(_DELETE_USER, key=person.id)

    async def revoke_sessions(self, person: Person) -> None:
        await self.change(_REVOKE_SESSIONS, key=person.id, to=self.clock())

    async def expire_sessions(self, person: Person) -> None:
        await self.change(_EXPIRE_SESSIONS, key=person.id, to=self.clock())


_APPLICATIONS: dict[object, FastAPI] = {}


def application(ports: Ports, **options: Any) -> FastAPI:
    """An application on `ports`. Making one takes longer than most tests do, so those with the same
    routes and options are one object, which serves the ports that it was given last.
    """
    routes = (ports.tokens.has_local_login, ports.has_passkeys, ports.factor_policy.is_on)
    key = (routes, ports.public_url, *sorted(options.items()))
    if key not in _APPLICATIONS:
        known: dict[str, Any] = {"access_log": SECRECY.note, "fastpath": FASTPATH}
        _APPLICATIONS[key] = create_app(ports, cursor_keys=[b"k" * 32], **known | options)
    app = _APPLICATIONS[key]
    app.state.services = build_services(ports)
    return app


@asynccontextmanager
async def open_gate(
    url: str,
    tokens: Callable[[Database], Tokens] = jose_tokens,
    limits: Limits | None = None,
    clock: Watch | None = None,
    app: FastAPI | None = None,
    policy: FactorPolicy | None = None,
    **of_app: Any,
) -> AsyncIterator[ApiClient]:
    """The application on the database at `url`, with access tokens of some technology: `app`, or
    one that is made with the options `of_app`.
    """
    database = open_database(url, timeout=10)  # what is slow here is the machine
    await database.open()
    clock = clock or Watch()
    technology = tokens(database)
    if technology.has_local_login:
        technology = WithPersonalTokens(technology)
    ports = Ports(
        queries=SqlQueries(database),
        storage=SqlStorage(database),
        tokens=technology,
        passwords=BcryptPasswords(cost=4),
        limits=limits or FakeLimits(),
        mailer=FakeMailer(),
        outgoing=FakeOutgoing(),
        sealer=AesGcmSealer([b"s" * 32]),
        totp=PyotpCodes("Gatepost"),
        clock=clock,
        passkeys=WebAuthnPasskeys(RelyingParty("localhost", LOCALHOST)),
        factor_policy=policy or FactorPolicy(),
        password_policy=PasswordPolicy(is_common=is_common),
    )
    if app is None:
        app = application(ports, **of_app)
    app.state.services = build_services(ports)
    async with client_of(app) as client:
        yield ApiClient(app=app, client=client, ports=ports, database=database, clock=clock)
    await database.close()


def client_on(ports: Ports) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A client of the `application` on `ports`, one at a time."""
    return client_of(application(ports))


@asynccontextmanager
async def client_of(
    app: FastAPI, root_path: str = "", *, ip: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client to whom a crash is an answer too, as it is over a network."""
    transport = httpx.ASGITransport(
        app=app, raise_app_exceptions=False, root_path=root_path, client=(ip, 1)
    )
    async with httpx.AsyncClient(transport=transport, base_url=URL, event_hooks=_HOOKS) as client:
        yield client


@cache
def listed_codes() -> set[tuple[str, int]]:
    return {(error.code, error.status) for error in catalogue.errors()}


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in `answer`, which has exactly the members that the contract names."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    wanted = (
        MEMBERS
        | EXTENSIONS.get(code, set())
        | ({"errors"} if code == "validation_failed" else set())
    )
    assert set(problem) == wanted
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["code"] == code
    assert (code, status) in listed_codes(), "`gatepost errors` does not list it"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    for error in problem.get("errors", []):
        assert set(error) == {"loc", "msg", "type"}
    return problem
