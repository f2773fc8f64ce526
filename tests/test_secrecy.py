"""`Secrecy` finds secrets in logs."""

import logging
from pathlib import Path

import httpx
import pytest

from tests.secrecy import Secrecy

TOKEN = "qp87n0w46hvA7AykPDSiYe3j0xotZD83kfJdI_SOlTk"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PASSWORD = "correct horse & battery"


@pytest.fixture
def secrecy() -> Secrecy:
    return Secrecy()


def client_of(secrecy: Secrecy, answer: httpx.Response) -> httpx.Client:
    return httpx.Client(
        transport=httpx.MockTransport(lambda _: answer),
        base_url="http://x",
        event_hooks={"request": [secrecy.sent], "response": [secrecy.answered]},
    )


def find(secrecy: Secrecy, secret: str) -> bool:
    assert secrecy.leaks() == []
    secrecy.logged(f"first\nsecond: {secret}.\nthird")
    return secrecy.leaks() == [f"second: {secret}."]


@pytest.mark.parametrize(
    "form", [PASSWORD, "correct+horse+%26+battery", "correct%20horse%20%26%20battery"]
)
def test_a_password_of_a_login_is_found(secrecy: Secrecy, form: str) -> None:
    with client_of(secrecy, httpx.Response(200, json={})) as client:
        client.post("/login", data={"username": "anna", "password": PASSWORD})

    assert find(secrecy, form)


def test_a_new_password_is_found(secrecy: Secrecy) -> None:
    with client_of(secrecy, httpx.Response(204)) as client:
        client.put("/users/me/password", json={"new_password": PASSWORD})

    assert find(secrecy, PASSWORD)


@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_in_a_response_is_found(secrecy: Secrecy, name: str) -> None:
    with client_of(secrecy, httpx.Response(200, json={name: JWT})) as client:
        client.get("/")

    assert find(secrecy, JWT)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (201, {"secret": TOKEN}),
        (201, {"otpauth_uri": f"otpauth://totp/x?secret={TOKEN}"}),
        (200, {"recovery_codes": ["mfzw-izlg", TOKEN]}),
        (401, {"challenge": TOKEN}),
    ],
)
def test_a_secret_of_a_second_factor_is_found(
    secrecy: Secrecy, status: int, answer: dict[str, object]
) -> None:
    with client_of(secrecy, httpx.Response(status, json=answer)) as client:
        client.get("/")

    assert find(secrecy, str(answer.get("otpauth_uri", TOKEN)))


@pytest.mark.parametrize("name", ["challenge", "code"])
def test_a_second_step_in_a_request_is_found(secrecy: Secrecy, name: str) -> None:
    with client_of(secrecy, httpx.Response(401)) as client:
        client.post("/login/second-factor", json={name: TOKEN})

    assert find(secrecy, TOKEN)


def test_a_token_in_a_request_is_found(secrecy: Secrecy) -> None:
    with client_of(secrecy, httpx.Response(401)) as client:
        client.get("/", headers={"Authorization": f"Bearer {JWT}"})
        client.post("/verification", json={"token": TOKEN})

    assert find(secrecy, JWT)


def test_a_code_in_a_mail_is_found(secrecy: Secrecy) -> None:
    secrecy.keep_codes(f"This is the token for it:\r\n\r\n{TOKEN}\r\n\r\nIt works once.")

    assert find(secrecy, TOKEN)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("SECRET_KEY", "tZ4vQ9kX2mLw", "tZ4vQ9kX2mLw"),
        ("PEPPER", "new-pepper,old-pepper", "old-pepper"),
        ("DATABASE_URL", "postgresql://anna:hunt%2Fer22@db/x", "hunt/er22"),
        ("REDIS_URL", "redis://:hunter22@cache", "hunter22"),
    ],
)
def test_a_secret_of_the_settings_is_found(
    secrecy: Secrecy, name: str, value: str, secret: str
) -> None:
    secrecy.keep_settings({name: value})

    assert find(secrecy, secret)


def test_secrets_in_files_are_found(secrecy: Secrecy, tmp_path: Path) -> None:
    (tmp_path / "gatepost.secret").write_text("tZ4vQ9kX2mLw\n")
    (tmp_path / "keys.json").write_text('{"keys": [{"kid": "public1", "d": "private1"}]}')
    secrecy.keep_files(tmp_path)

    secrecy.logged("public1")
    assert find(secrecy, "tZ4vQ9kX2mLw")
    secrecy.logged("private1")
    assert len(secrecy.leaks()) == 2


def test_fields_and_traceback_of_a_log_record_are_searched(secrecy: Secrecy) -> None:
    logger = logging.Logger("gatepost.tests")  # noqa: LOG001  apart from all others
    logger.addHandler(secrecy)
    secrecy.keep(TOKEN)
    secrecy.keep(JWT)

    logger.info("logged_in", extra={"fields": {"token": TOKEN}})
    try:
        raise ValueError(JWT)
    except ValueError:
        logger.exception("failed")

    assert [TOKEN in line or JWT in line for line in secrecy.leaks()] == [True, True]


def test_a_printed_mail_is_excluded_and_the_rest_is_searched(secrecy: Secrecy) -> None:
    secrecy.keep(TOKEN)
    mail = f"\nTo: a@b.c\nSubject: Hi\n\nthe token:\n\n{TOKEN}\n\nIf it was not you, fine.\n\n"

    secrecy.printed(f"started{mail}{mail}ended")
    assert secrecy.leaks() == []
    secrecy.printed(f"started{mail}{TOKEN}{mail}ended")
    assert secrecy.leaks() == [TOKEN]
