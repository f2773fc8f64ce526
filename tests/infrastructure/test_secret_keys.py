"""Rotation of `SECRET_KEY`: the first secret signs and seals, all of them verify and open."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

import main
from api.pages import Cursors
from application.ports.tokens import Claims
from application.services import Ports
from domain.pages import InvalidCursor
from domain.sessions import InvalidToken
from infrastructure.settings import Settings, secret_keys
from tests.factories import SessionFactory
from tests.fakes.clock import NOON
from tests.fakes.tokens import issued

OLD = "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP"
NEW = "pA1cX8nVq3ZrT6wYb9KsM2fJd5GhL4uE"
START = NOON.replace(microsecond=0)
CONTEXT = "totp of user:7"


def settings(secret_key: str, **others: object) -> Settings:
    return Settings(_env_file=None, secret_key=secret_key, **others)  # type: ignore[arg-type]


def ports(secret_key: str) -> Ports:
    made = settings(secret_key)
    return main.build_ports(made, main.build_database(made))


def claims() -> Claims:
    session = SessionFactory.build()
    return Claims(
        user_id=session.user_id,
        session_id=session.id,
        issued_at=START,
        expires_at=START + timedelta(hours=1),
    )


def test_secrets_are_separated_by_commas() -> None:
    assert secret_keys(settings(f" {NEW} , {OLD}")) == [NEW.encode(), OLD.encode()]


@pytest.mark.parametrize("value", [f"{NEW},short", f"{NEW},{NEW}", f"{NEW},", f",{NEW}"])
def test_each_secret_must_be_fit_and_there_once(value: str) -> None:
    with pytest.raises(ValidationError):
        settings(value)


async def test_tokens_of_both_secrets_verify_and_the_first_signs() -> None:
    said = claims()
    by_old = await issued(ports(OLD).tokens, said)
    by_both = await issued(ports(f"{NEW},{OLD}").tokens, said)

    for token in (by_old, by_both):
        assert await ports(f"{NEW},{OLD}").tokens.verify(token, NOON) == said
    assert await ports(NEW).tokens.verify(by_both, NOON) == said
    with pytest.raises(InvalidToken):
        await ports(NEW).tokens.verify(by_old, NOON)


def test_secrets_sealed_by_both_open_and_the_first_seals() -> None:
    by_old = ports(OLD).sealer.seal("a secret", CONTEXT)
    by_both = ports(f"{NEW},{OLD}").sealer.seal("a secret", CONTEXT)

    for sealed in (by_old, by_both):
        assert ports(f"{NEW},{OLD}").sealer.open(sealed, CONTEXT) == "a secret"
    assert ports(NEW).sealer.open(by_both, CONTEXT) == "a secret"
    assert ports(NEW).sealer.open(by_old, CONTEXT) is None


def test_cursors_of_both_keys_are_read_and_the_first_writes() -> None:
    old, new = b"o" * 32, b"n" * 32
    cursors = {keys: Cursors(keys) for keys in ((old,), (new, old), (new,))}
    by_old, by_both = (cursors[keys].write((7,), "/posts") for keys in ((old,), (new, old)))

    for cursor in (by_old, by_both):
        assert cursors[new, old].read(cursor, "/posts") == (7,)
    assert cursors[new,].read(by_both, "/posts") == (7,)
    with pytest.raises(InvalidCursor):
        cursors[new,].read(by_old, "/posts")
