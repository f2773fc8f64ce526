"""Access tokens of other technologies, including one that a team writes itself."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

import main
from api.app import create_app
from application.outages import DatabaseUnavailable
from application.ports.storage import UnitOfWork
from application.ports.tokens import Claims, Tokens
from application.services import build_services
from domain.errors import AlreadyGone
from domain.sessions import InvalidToken, SessionId
from domain.users import UserId
from infrastructure.database.access_tokens import ACCESS_TOKENS
from infrastructure.database.driver.engine import open_database
from infrastructure.database.driver.statements import Clause, Database, Record
from infrastructure.database.queries import SqlQueries
from infrastructure.settings import Settings
from infrastructure.tokens.opaque import OpaqueTokens
from infrastructure.tokens.personal import WithPersonalTokens
from tests.api.client import ApiClient, Person, client_of, open_gate, problem_of
from tests.api.test_sessions import bearer, refresh, works
from tests.fakes.tokens import issued

_ALL = select(ACCESS_TOKENS)
_CHANGE_HASH = (
    update(ACCESS_TOKENS)
    .values(hash=func.replace(ACCESS_TOKENS.c.hash, func.substr(ACCESS_TOKENS.c.hash, 60), "x"))
    .returning(ACCESS_TOKENS.c.id)
)


class TinyTokens(Tokens):
    """All that a technology is: what a token says, and an HMAC of it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        moments = (claims.issued_at, claims.expires_at)
        numbers = [claims.user_id, claims.session_id, *(int(m.timestamp()) for m in moments)]
        numbers.append(secrets.randbits(64))
        text = "-".join(map(str, numbers))
        return f"{text}.{self._tag(text)}"

    async def verify(self, token: str, now: datetime) -> Claims:
        text, _, tag = token.partition(".")
        known = self._tag(text).encode()
        if not hmac.compare_digest(tag.encode(errors="surrogatepass"), known):
            raise InvalidToken
        user_id, session_id, issued_at, expires_at, _ = map(int, text.split("-"))
        claims = Claims(
            user_id=UserId(user_id),
            session_id=SessionId(session_id),
            issued_at=datetime.fromtimestamp(issued_at, UTC),
            expires_at=datetime.fromtimestamp(expires_at, UTC),
        )
        if not claims.issued_at <= now < claims.expires_at:
            raise InvalidToken
        return claims

    def _tag(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(errors="surrogatepass"), "sha256")
        return urlsafe_b64encode(digest).decode()


# The one line.
TINY = {"tiny": lambda settings, database: TinyTokens(b"k" * 32)}


def technologies() -> dict[str, Any]:
    return {"opaque": OpaqueTokens, "tiny": lambda _: TinyTokens(b"k" * 32)}


@pytest.fixture(params=technologies())
async def other_gate(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[ApiClient]:
    async with open_gate(database_url, technologies()[request.param]) as api:
        yield api


async def test_a_technology_is_one_line_in_the_composition_root(tmp_path: Path) -> None:
    settings = Settings(tokens="tiny", database_url=f"sqlite:///{tmp_path / 'g.db'}")
    database = open_database(settings.database)

    ports = main.build_ports(settings, database, technologies={**main.TOKENS, **TINY})

    assert isinstance(ports.tokens, WithPersonalTokens)
    assert isinstance(ports.tokens.others, TinyTokens)


async def test_the_current_user_is_the_same_with_every_technology(other_gate: ApiClient) -> None:
    api = other_gate
    anna = await api.person()
    assert (await api.me(anna)).json()["email"] == anna.email

    refreshed = (await refresh(api, anna.refresh_token)).json()
    assert await works(api, refreshed["access_token"])
    assert await works(api, anna.token)
    (session,) = (await api.client.get("/sessions", headers=anna.headers)).json()
    assert session["current"]

    out = await api.client.post("/logout", headers=bearer(refreshed["access_token"]))
    assert out.status_code == 204
    assert not await works(api, anna.token)
    assert not await works(api, refreshed["access_token"])
    keys = await api.client.get("/.well-known/jwks.json")
    assert keys.json() == {"keys": []}


ENDS = [
    ApiClient.deactivate,
    ApiClient.delete,
    ApiClient.revoke_sessions,
    ApiClient.expire_sessions,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_revocation_takes_effect_on_the_next_request_with_every_technology(
    other_gate: ApiClient, end: Any
) -> None:
    anna, bert = await other_gate.person(), await other_gate.person()
    assert await works(other_gate, anna.token)

    await end(other_gate, anna)

    assert not await works(other_gate, anna.token)
    assert await works(other_gate, bert.token)


async def test_a_token_expires_with_every_technology(other_gate: ApiClient) -> None:
    anna = await other_gate.person()

    other_gate.clock.ahead = timedelta(seconds=3601)

    assert not await works(other_gate, anna.token)


class Counting:
    """Counts the reads of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.is_remote = database.is_remote
        self.reads = 0

    async def fetch(self, clause: Clause, **values: Any) -> Sequence[Record]:
        self.reads += 1
        return await self._database.fetch(clause, **values)

    fetch_shared = fetch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def test_an_opaque_token_costs_a_request_two_lookups_by_key(database_url: str) -> None:
    async with open_gate(database_url, OpaqueTokens) as api:
        anna = await api.person()
        counting = Counting(api.database)
        tokens, queries = OpaqueTokens(counting), SqlQueries(counting)
        auth = build_services(replace(api.ports, tokens=tokens, queries=queries)).auth

        user, _ = await auth.authenticate(anna.token)

        assert user.id == anna.id
        assert counting.reads == 2


async def test_the_whole_hash_of_an_opaque_token_is_compared(database_url: str) -> None:
    async with open_gate(database_url, OpaqueTokens) as api:
        anna = await api.person()

        await api.change(_CHANGE_HASH)

        assert not await works(api, anna.token)


async def test_an_opaque_token_is_stored_as_a_hash_until_it_expires(
    database_url: str,
) -> None:
    async with open_gate(database_url, OpaqueTokens) as api:
        anna = await api.person()
        assert anna.token not in str(await stored(api))
        api.clock.ahead = timedelta(hours=2)

        again = (await refresh(api, anna.refresh_token)).json()

        assert len(await stored(api)) == 1
        assert await works(api, again["access_token"])


class FailingTokens(OpaqueTokens):
    """Stores the next token and then fails."""

    is_failing = True

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        token = await super().issue(claims, uow)
        if self.is_failing:
            raise DatabaseUnavailable
        return token


async def test_a_refresh_can_be_repeated_if_no_opaque_token_was_stored(database_url: str) -> None:
    async with open_gate(database_url, OpaqueTokens) as api:
        anna = await api.person()
        before = await stored(api)
        tokens = FailingTokens(api.database)
        app = create_app(replace(api.ports, tokens=tokens), cursor_keys=[b"k" * 32])

        async with client_of(app) as client:
            form = {"refresh_token": anna.refresh_token}
            problem_of(await client.post("/refresh", data=form), 503, "database_unavailable")
            assert await stored(api) == before
            tokens.is_failing = False
            again = await client.post("/refresh", data=form)

        assert await works(api, again.json()["access_token"])


async def test_no_opaque_token_is_stored_for_a_deleted_session(database_url: str) -> None:
    async with open_gate(database_url, OpaqueTokens) as api:
        anna: Person = await api.person()
        claims = await api.ports.tokens.verify(anna.token, api.clock())
        assert isinstance(claims, Claims)
        await api.delete(anna)

        with pytest.raises(AlreadyGone):
            await issued(api.ports.tokens, claims, api.ports.storage)
        problem_of(await api.me(anna), 401, "invalid_token")


async def stored(api: ApiClient) -> Sequence[Record]:
    return await api.database.fetch(_ALL)
