"""Redaction of log lines and traces."""

import pytest

from infrastructure.redaction import REDACTED, redacted, redacted_text

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLW9mLWl0"
RANDOM = "qp87n0w46hvA7AykPDSiYe3j0xotZD83kfJdI_SOlTk"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {JWT} is bad", JWT),
        (f"/posts/{JWT}", JWT),
        (f"{JWT}.two.more", JWT),
        (f"<{RANDOM}>", RANDOM),
        (f"GET /verification/{RANDOM}/", RANDOM),
        ("Authorization: Bearer abc", "abc"),
        ("sent 'bearer abc'", "abc"),
        ("postgresql://anna:hunter2@db/gatepost is down", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("smtps://anna:hun:ter2@mail", "hun:ter2"),
        ("password=hunter2&username=anna", "hunter2"),
        ('{"new_password": "hunter 2", "a": 1}', "hunter 2"),
        ("Login(password='hunter 2')", "hunter 2"),
        ("GATEPOST_SECRET_KEY=hunter2", "hunter2"),
        ("pepper: hunter2", "hunter2"),
    ],
)
def test_text_with_the_shape_of_a_secret_is_hidden(text: str, secret: str) -> None:
    assert secret not in redacted_text(text)
    assert REDACTED in redacted_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /posts/4711",
        "2d4f8a36-0f7a-4c52-8f3a-1c1c3a0b9d55",
        "message 5 was not sent: SMTPServerDisconnected; next attempt: 2026-11-23 06:00:00+00:00",
        "postgresql://db.example.com:5432/gatepost",
        "http://[2001:db8::1]:8000/docs",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "the token has expired, ask for another one: POST /users/me/verification",
        'duplicate key value violates unique constraint "uq_users_email_key"',
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "newPassword", "PASSWORD", "refresh_token", "Authorization"],
)
@pytest.mark.parametrize("value", ["hunter2", 4711, ["hunter2"], {"a": "hunter2"}, b"bytes"])
def test_a_field_with_the_name_of_a_secret_is_hidden(name: str, value: object) -> None:
    assert redacted({name: value}) == {name: REDACTED}


def test_names_of_secrets_are_recognized_by_their_words() -> None:
    names = ["code", "secret_key", "X-API-Key", "pepper", "cookie", "pin"]

    assert redacted(dict.fromkeys(names, 1)) == dict.fromkeys(names, REDACTED)


def test_nested_fields_are_hidden() -> None:
    fields = {"details": {"user": {"id": 1, "password": "hunter2"}}, "tried": [f"at {RANDOM}"]}

    assert redacted(fields) == {
        "details": {"user": {"id": 1, "password": REDACTED}},
        "tried": [f"at {REDACTED}"],
    }


def test_other_values_are_shown_by_their_redacted_repr() -> None:
    shown = redacted({"error": ValueError("password=hunter2"), "flag": True, "nothing": None})

    assert shown == {"error": f"ValueError('password={REDACTED}')", "flag": True}


def test_fields_with_similar_names_are_kept() -> None:
    fields = {"keys_file": "keys.json", "monkey": "x", "status": 401, "encoded": "y"}

    assert redacted(fields) == fields
