"""A test of a use case needs no app, no database and no patching: services and fakes are enough."""

import subprocess
import sys
from pathlib import Path

import pytest

from application.services import build_services
from domain.users import EmailTaken, UserDraft
from tests.fakes.ports import fake_ports


async def test_an_address_is_registered_once() -> None:
    services = build_services(fake_ports())
    await services.accounts.register(UserDraft(email="anna@example.com"), "correct horse")

    with pytest.raises(EmailTaken):
        await services.accounts.register(UserDraft(email="ANNA@example.com"), "battery staple")


# The same test in a fresh process, to see what it takes along.
ALONE = f"""
import asyncio, sys
from {__name__} import test_an_address_is_registered_once
asyncio.run(test_an_address_is_registered_once())
print(*sys.modules)
"""

NOT_NEEDED = {
    *("api", "infrastructure", "main"),
    *("fastapi", "httpx", "pydantic", "starlette", "uvicorn"),
    *("alembic", "asyncpg", "sqlalchemy", "sqlite3", "sqlmodel"),
    *("bcrypt", "cryptography", "jose"),
}


def test_the_test_above_imports_no_framework_database_or_cryptography() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )

    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"application", "domain", "tests"} <= imported
    assert imported & NOT_NEEDED == set()
