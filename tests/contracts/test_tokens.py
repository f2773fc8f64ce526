"""What every adapter of the token port does. To add one, add it to `ADAPTERS`."""

import re
import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from application.ports.personal_tokens import PersonalTokenQueries, PersonalTokens
from application.ports.storage import Storage, UnitOfWork
from application.ports.tokens import Claims, ExternalClaims, PersonalClaims, Tokens
from domain.personal_tokens import SECRETS, NewPersonalToken, token_hash, token_of
from domain.scopes import Scope
from domain.sessions import InvalidToken, SessionId
from domain.users import UserId
from infrastructure.database.driver.engine import open_database
from infrastructure.database.queries import SqlQueries
from infrastructure.database.unit_of_work import SqlStorage
from infrastructure.tokens.issuer import IssuerTokens
from infrastructure.tokens.jose import JoseTokens, SigningKey, hs256_key, jwk_key, new_jwk
from infrastructure.tokens.opaque import OpaqueTokens
from infrastructure.tokens.personal import WithPersonalTokens
from infrastructure.tokens.provider_keys import ProviderKeys
from tests.api.test_another_technology import TinyTokens
from tests.fakes.clock import FakeClock
from tests.fakes.storage import FakeStorage
from tests.fakes.tokens import FakeTokens, issued
from tests.infrastructure.test_issuer import rsa_key, signed

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
ISSUED_AT = NOW.replace(microsecond=0)
CLAIMS = Claims(
    user_id=UserId(7),
    session_id=SessionId(41),
    issued_at=ISSUED_AT,
    expires_at=ISSUED_AT + timedelta(hours=1),
)
SECOND = timedelta(seconds=1)
HALF_A_MINUTE = timedelta(seconds=30)

quick = settings(
    max_examples=50,
    deadline=None,
    # All examples may share one instance of the adapter.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def jose(key: SigningKey) -> Tokens:
    return JoseTokens([key], issuer="https://gatepost.test", audience="gatepost")


# Making an RSA key takes a tenth of a second: a few are enough for all tests.
@cache
def asymmetric_key(algorithm: str, serial: int) -> SigningKey:
    return jwk_key(new_jwk(algorithm))


ADAPTERS: dict[str, Callable[[int], Tokens]] = {
    "fake": lambda _: FakeTokens(),
    "beside personal tokens": lambda _: WithPersonalTokens(FakeTokens()),
    "a team's own": lambda _: TinyTokens(secrets.token_bytes(32)),
    "issuer": lambda serial: OutsideTokens(f"provider {serial}"),
    "jose-hs256": lambda _: jose(hs256_key(secrets.token_bytes(32))),
    "jose-rs256": lambda serial: jose(asymmetric_key("RS256", serial)),
    "jose-es256": lambda serial: jose(asymmetric_key("ES256", serial)),
}


class OutsideTokens(Tokens):
    """Tokens of a provider, whose subject names the user and the session."""

    def __init__(self, name: str) -> None:
        self._key = rsa_key(name)
        self._tokens = IssuerTokens(
            issuer="https://provider.test",
            audience="gatepost",
            keys=ProviderKeys(
                issuer="https://provider.test",
                jwks_url="https://provider.test/keys",
                https_only=True,
                clock=FakeClock(),
                transport=httpx.MockTransport(self._keys),
            ),
        )

    async def issue(self, claims: Claims, uow: UnitOfWork) -> str:
        said = {
            "iss": "https://provider.test",
            "aud": "gatepost",
            "sub": f"{claims.user_id} {claims.session_id}",
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
            "jti": secrets.token_hex(8),
        }
        return signed(self._key, said)

    async def verify(self, token: str, now: datetime) -> Claims:
        claims = await self._tokens.verify(token, now)
        user_id, session_id = map(int, claims.identity.subject.split())
        return Claims(
            user_id=UserId(user_id),
            session_id=SessionId(session_id),
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
        )

    def _keys(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"keys": [self._key.as_dict(private=False)]})


class Technology:
    """Tokens, and a storage to issue them in."""

    def __init__(self, tokens: Tokens, storage: Storage) -> None:
        self._tokens = tokens
        self._storage = storage

    async def issue(self, claims: Claims) -> str:
        return await issued(self._tokens, claims, self._storage)

    async def issue_and_undo(self, claims: Claims) -> str:
        async with self._storage() as uow:
            return await self._tokens.issue(claims, uow)

    async def verify(self, token: str, now: datetime) -> Claims | ExternalClaims | PersonalClaims:
        return await self._tokens.verify(token, now)


def add_user(connection: sqlite3.Connection, user_id: UserId) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO users (id, email, email_key, role, is_active, is_verified,"
        " password_hash, created_at, tokens_valid_from)"
        " VALUES (?, ?, ?, 'member', 1, 0, '', 0, 0)",
        (user_id, str(user_id), str(user_id)),
    )


class OpaqueOnSqlite(Technology):
    """Opaque tokens, with a session made up for whatever claims are asked for."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(f"sqlite:///{path}")
        self._direct = sqlite3.connect(path, isolation_level=None)
        super().__init__(OpaqueTokens(self._database), SqlStorage(self._database))

    async def open(self) -> None:
        await self._database.open()

    async def issue(self, claims: Claims) -> str:
        add_user(self._direct, claims.user_id)
        self._direct.execute(
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, refresh_hash)"
            " VALUES (?, ?, 0, 0, 0, ?)"
            " ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id",
            (claims.session_id, claims.user_id, str(claims.session_id)),
        )
        return await super().issue(claims)

    async def close(self) -> None:
        self._direct.close()
        await self._database.close()


class PersonalOnSqlite(Technology):
    """Personal tokens, stored for whatever claims are asked for, and looked up as each request
    looks them up. The session of the claims is the token's name.
    """

    def __init__(self, path: Path) -> None:
        self._database = open_database(f"sqlite:///{path}")
        self._direct = sqlite3.connect(path, isolation_level=None)
        self._personal = WithPersonalTokens(FakeTokens())
        self._queries = SqlQueries(self._database)
        self._sql = SqlStorage(self._database)
        super().__init__(self._personal, self._sql)

    async def open(self) -> None:
        await self._database.open()

    async def issue(self, claims: Claims) -> str:
        add_user(self._direct, claims.user_id)
        async with self._sql() as uow:
            text = await self._add(uow, claims)
            await uow.commit()
        return text

    async def issue_and_undo(self, claims: Claims) -> str:
        async with self._sql() as uow:
            return await self._add(uow, claims)

    async def _add(self, uow: UnitOfWork, claims: Claims) -> str:
        text = token_of(secrets.randbelow(SECRETS))
        await uow.of(PersonalTokens).add(
            NewPersonalToken(
                user_id=claims.user_id,
                name=str(claims.session_id),
                scopes=(Scope.ACCOUNT_READ,),
                created_at=claims.issued_at,
                expires_at=claims.expires_at,
                token_hash=token_hash(text),
            )
        )
        return text

    async def verify(self, token: str, now: datetime) -> Claims:
        claims = await self._personal.verify(token, now)
        assert isinstance(claims, PersonalClaims)
        found = await self._queries.of(PersonalTokenQueries).token_user(claims.token_hash)
        if found is None or not found[0].is_valid_for(found[1], now):
            raise InvalidToken
        stored, user = found
        return Claims(
            user_id=user.id,
            session_id=SessionId(int(stored.name)),
            issued_at=stored.created_at,
            expires_at=stored.expires_at,
        )

    async def close(self) -> None:
        self._direct.close()
        await self._database.close()


STORED: dict[str, Callable[[Path], OpaqueOnSqlite | PersonalOnSqlite]] = {
    "opaque": OpaqueOnSqlite,
    "personal": PersonalOnSqlite,
}


@pytest.fixture(params=[*ADAPTERS, *STORED])
async def adapters(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Technology, Technology]]:
    """The technology's tokens, twice: each with its own secret, or its own store."""
    if request.param not in STORED:
        make = ADAPTERS[request.param]
        yield Technology(make(1), FakeStorage()), Technology(make(2), FakeStorage())
        return
    migrated: Path = request.getfixturevalue("migrated_sqlite")
    one, two = (
        STORED[request.param](Path(shutil.copy(migrated, tmp_path / name)))
        for name in ("1.db", "2.db")
    )
    for tokens in (one, two):
        await tokens.open()
    yield one, two
    for tokens in (one, two):
        await tokens.close()


@pytest.fixture
def tokens(adapters: tuple[Technology, Technology]) -> Technology:
    return adapters[0]


@pytest.fixture
def foreign(adapters: tuple[Technology, Technology]) -> Technology:
    """The same technology with other secrets."""
    return adapters[1]


async def refuses(tokens: Technology, token: str, now: datetime = NOW) -> bool:
    with pytest.raises(InvalidToken) as refusal:
        await tokens.verify(token, now)
    # One and the same for every cause, and nothing attached that would tell.
    error = refusal.value
    return str(error) == InvalidToken.detail and error.__cause__ is error.__context__ is None


ids = st.integers(1, 2**63 - 1)
moments = st.integers(0, 250_000_000_000).map(lambda n: datetime.fromtimestamp(n, UTC))


@quick
@given(user=ids, session=ids, issued_at=moments, life=st.integers(1, 10**9))
@example(user=2**63 - 1, session=2**63 - 1, issued_at=ISSUED_AT, life=1)
async def test_a_token_has_the_claims_that_it_was_issued_for(
    tokens: Technology, user: int, session: int, issued_at: datetime, life: int
) -> None:
    claims = Claims(
        user_id=UserId(user),
        session_id=SessionId(session),
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=life),
    )

    token = await tokens.issue(claims)

    assert await tokens.verify(token, issued_at) == claims
    assert await tokens.verify(token, claims.expires_at - timedelta(microseconds=1)) == claims


async def test_a_token_is_valid_after_the_commit_of_its_unit_of_work(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)
    undone = await tokens.issue_and_undo(CLAIMS)

    assert await tokens.verify(token, NOW) == CLAIMS
    if isinstance(tokens, OpaqueOnSqlite | PersonalOnSqlite):  # these store their tokens
        assert await refuses(tokens, undone)


async def test_a_token_is_valid_in_a_header_unchanged(tokens: Technology) -> None:
    # RFC 6750, section 2.1: b64token.
    assert re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", await tokens.issue(CLAIMS))


async def test_no_two_tokens_are_the_same(tokens: Technology) -> None:
    assert len({await tokens.issue(CLAIMS) for _ in range(100)}) == 100


async def test_a_token_can_be_verified_repeatedly(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)

    assert [await tokens.verify(token, NOW) for _ in range(3)] == [CLAIMS] * 3


async def test_tokens_are_independent_of_each_other(tokens: Technology) -> None:
    other_claims = replace(CLAIMS, user_id=UserId(8), session_id=SessionId(42))
    token, other = await tokens.issue(CLAIMS), await tokens.issue(other_claims)

    for _ in range(2):
        assert await tokens.verify(token, NOW) == CLAIMS
        assert await tokens.verify(other, NOW) == other_claims


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=9000)])
async def test_an_expired_token_is_refused(tokens: Technology, late: timedelta) -> None:
    token = await tokens.issue(CLAIMS)

    assert await refuses(tokens, token, CLAIMS.expires_at + late)


async def test_a_token_expires_although_it_was_verified_before(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)
    await tokens.verify(token, CLAIMS.expires_at - SECOND)

    assert await refuses(tokens, token, CLAIMS.expires_at)
    assert await refuses(tokens, token, CLAIMS.expires_at)


async def test_a_token_issued_in_the_future_is_refused(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)

    assert await refuses(tokens, token, ISSUED_AT - HALF_A_MINUTE)


async def test_a_token_issued_in_the_future_is_refused_although_it_was_verified_before(
    tokens: Technology,
) -> None:
    token = await tokens.issue(CLAIMS)
    await tokens.verify(token, NOW)

    assert await refuses(tokens, token, ISSUED_AT - HALF_A_MINUTE)
    assert await tokens.verify(token, NOW) == CLAIMS


async def test_a_foreign_token_is_refused(tokens: Technology, foreign: Technology) -> None:
    await tokens.issue(CLAIMS)
    token = await foreign.issue(CLAIMS)
    await foreign.verify(token, NOW)

    assert await refuses(tokens, token)


GARBAGE = {
    "empty": "",
    "a space": " ",
    "a dot": ".",
    "two dots": "..",
    "a thousand dots": "." * 1000,
    "NUL": "\0",
    "a lone surrogate": "\ud800",
    "non-ASCII": "tökén",
    "digits of another script": "token-\u0661",
    "the start of a token": "token-1",
    "a word": "null",
    "a number": "0",
    "JSON": '{"sub":"7"}',
    "oversized": "a" * 5000,
    "oversized, in segments": ".".join(["a" * 2000] * 3),
    "huge": "a" * 10_000_000,
    "huge, of dots": "." * 1_000_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_refused(tokens: Technology, garbage: str) -> None:
    assert await refuses(tokens, garbage)


@quick
@given(text=st.text(st.characters(exclude_categories=[])))
async def test_no_other_text_is_accepted_as_a_token(tokens: Technology, text: str) -> None:
    assert await refuses(tokens, text)


ADDITIONS = [" ", "\n", "\r\n", "\t", "\0", "=", ".", "a", "A", "\ud800", "é", "\u200b", "a" * 5000]


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda text: ascii(text[:6]))
async def test_a_token_with_text_around_it_is_refused(tokens: Technology, addition: str) -> None:
    token = await tokens.issue(CLAIMS)
    await tokens.verify(token, NOW)

    assert await refuses(tokens, token + addition)
    assert await refuses(tokens, addition + token)
    assert await refuses(tokens, addition + token + addition)


characters = st.sampled_from("AQgwz019-_.=+/ \n\0é\ud800") | st.characters(exclude_categories=[])


@settings(quick, max_examples=200)
@given(
    # From the end too: that is where the spare bits of a signature are.
    place=st.integers(-4, 700),
    taken=st.integers(0, 3),
    put=st.text(characters, max_size=3),
    remembered=st.booleans(),
)
async def test_a_changed_token_is_refused(
    tokens: Technology, place: int, taken: int, put: str, remembered: bool
) -> None:
    token = await tokens.issue(CLAIMS)
    if remembered:
        await tokens.verify(token, NOW)
    start = place % (len(token) + 1)
    changed = token[:start] + put + token[start + taken :]

    if changed != token:
        assert await refuses(tokens, changed)
    assert await tokens.verify(token, NOW) == CLAIMS


async def test_a_token_with_another_last_character_is_refused(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)

    for code in range(128):
        if chr(code) != token[-1]:
            assert await refuses(tokens, token[:-1] + chr(code))


async def test_a_part_of_a_token_is_refused(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)

    for cut in range(1, len(token)):
        assert await refuses(tokens, token[:cut])
        assert await refuses(tokens, token[cut:])


async def test_parts_of_two_tokens_are_refused(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)
    other = await tokens.issue(replace(CLAIMS, user_id=UserId(1)))

    for cut in range(1, min(len(token), len(other))):
        mixed = token[:cut] + other[cut:]
        if mixed not in (token, other):
            assert await refuses(tokens, mixed)


async def test_a_token_in_another_case_is_refused(tokens: Technology) -> None:
    token = await tokens.issue(CLAIMS)

    assert await refuses(tokens, token.upper())
    assert await refuses(tokens, token.swapcase())
