"""Addresses of databases, in the forms in which people and providers write them."""

from pathlib import Path

import pytest

from infrastructure.database.driver.addresses import (
    BadAddress,
    PostgresAddress,
    SqliteAddress,
    parse,
)

HOST = "postgresql://gatepost:secret@db.example.com/gatepost"


def postgres(url: str) -> PostgresAddress:
    address = parse(url)
    assert isinstance(address, PostgresAddress)
    return address


@pytest.mark.parametrize(
    ("url", "path", "timeout"),
    [
        ("sqlite:///gatepost.db", "gatepost.db", None),
        ("sqlite:////var/lib/gatepost/gatepost.db", "/var/lib/gatepost/gatepost.db", None),
        ("sqlite:///gatepost.db?timeout=30", "gatepost.db", 30),
    ],
)
def test_an_address_of_sqlite_is_a_path_with_a_timeout(
    url: str, path: str, timeout: float | None
) -> None:
    assert parse(url) == SqliteAddress(Path(path), timeout)


@pytest.mark.parametrize(
    "url",
    [
        HOST,
        "postgres://gatepost@[::1]:6432/gatepost",
        f"{HOST}?sslmode=require",
        f"{HOST}?application_name=blog&options=-c%20statement_timeout%3D5s",
        f"{HOST}?search_path=blog&target_session_attrs=read-write",
        "postgresql://gatepost:secret@/gatepost?host=%2Fcloudsql%2Fproject%3Aregion%3Ainstance",
    ],
)
def test_options_of_asyncpg_and_the_server_are_passed_on(url: str) -> None:
    assert postgres(url).hosts == (url,)


def test_every_host_has_its_own_address() -> None:
    address = postgres("postgresql://gatepost:se,cret@a.example.com:5432,b.example.com/gatepost")

    assert address.hosts == (
        "postgresql://gatepost:se,cret@a.example.com:5432/gatepost",
        "postgresql://gatepost:se,cret@b.example.com/gatepost",
    )


def test_options_of_the_client_are_not_sent_to_the_server() -> None:
    address = postgres(
        f"{HOST}?connect_timeout=5&channel_binding=prefer&statement_cache_size=0&sslmode=require"
    )

    assert address == PostgresAddress((f"{HOST}?sslmode=require",), 0, 5)


def test_certificates_must_be_existing_files(tmp_path: Path) -> None:
    root = tmp_path / "root.crt"
    root.touch()

    parse(f"{HOST}?sslmode=verify-full&sslrootcert={root}")
    with pytest.raises(BadAddress, match=r"^sslrootcert: there is no such file$"):
        parse(f"{HOST}?sslmode=verify-full&sslrootcert={root}.missing")


def test_verifying_a_certificate_needs_an_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)

    with pytest.raises(BadAddress, match="sslrootcert=FILE"):
        parse(f"{HOST}?sslmode=verify-full")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("channel_binding=require", "sslmode=verify-full"),
        ("pgbouncer=true", "statement_cache_size=0"),
        ("schema=blog", "search_path=SCHEMA"),
        ("currentSchema=blog", "search_path=SCHEMA"),
        ("ssl=true", "sslmode=require"),
        ("connection_limit=1", "GATEPOST_DATABASE_CONNECTIONS"),
        ("sslmode=required", "one of disable, allow, prefer, require"),
        ("target_session_attrs=master", "one of any, primary"),
        ("statement_cache_size=many", "a whole number"),
        ("connect_timeout=-1", "a whole number"),
        ("keepalives=1", "leave it out"),
        ("work_mem=4MB", "options=-c%20NAME%3DVALUE"),
        ("sslmode=require&sslmode=disable", "given twice"),
        ("sslmode=", "must have a value"),
    ],
)
def test_an_unknown_option_is_refused_with_an_alternative(options: str, reason: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        parse(f"{HOST}?{options}")

    assert str(refusal.value).startswith(options.partition("=")[0])
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///gatepost.db?mode=ro", "mode: there is no such option"),
        ("sqlite:///gatepost.db?check_same_thread=false", "check_same_thread: there is no"),
        ("sqlite:///gatepost.db?timeout=soon", "timeout: must be a whole number"),
        ("sqlite:///gatepost.db ", "no space"),
        ("sqlite:///gatepost.db ?timeout=1", "no space"),
    ],
)
def test_options_that_would_become_part_of_a_file_name_are_refused(url: str, reason: str) -> None:
    with pytest.raises(BadAddress, match=reason):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "sqlite://secret",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:secret.db",
        "mysql://gatepost:secret@db.example.com/gatepost",
        "postgresql+asyncpg://gatepost:secret@db.example.com/gatepost",
        "postgresql://gatepost:secret/word@db.example.com/gatepost",
        "postgresql://gatepost:se?secret=word@db.example.com/gatepost",
        "postgresql://gatepost:1#secret@db.example.com/gatepost",
        "postgresql://gatepost:secret@db.example.com:99999/gatepost",
        "postgresql://gatepost:secret@a.example.com:5432,b.example.com:no/gatepost",
        "postgresql://gatepost:secret@[::1/gatepost",
        "postgresql://gatepost:secret\u2100@db.example.com/gatepost",
        "postgresql://gatepost:secret@db.example.com/gatepost?secret",
    ],
)
def test_an_invalid_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadAddress, match=r"^must be ") as refusal:
        parse(url)

    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is refusal.value.__context__ is None
