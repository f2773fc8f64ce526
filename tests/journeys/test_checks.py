"""`gatepost check` on real databases, mail servers and replicas."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from infrastructure.tokens import keyfile
from tests.fakes.clock import NOON
from tests.journeys.processes import Place, on_both_databases
from tests.postgres import PostgresServer, free_port, running_postgres
from tests.smtp import smtp_in_a_thread
from tests.valkey import ValkeyServer

SECRET = "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU"
NOWHERE = "postgresql://gatepost:hunter2@127.0.0.1:1/gatepost"


@pytest.fixture(scope="module")
def smtp() -> Iterator[str]:
    with smtp_in_a_thread() as address:
        yield f"smtp://{address}"


@pytest.fixture
def production(place: Place, smtp: str) -> Place:
    """A place with sound settings and a migrated database."""
    place.settings = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": SECRET,
        "BCRYPT_COST": "12",
        "SMTP_URL": smtp,
        "MAIL_FROM": "gatepost@example.com",
    }
    place.run("migrate")
    return place


def found(place: Place, kind: str = "error") -> dict[str, str]:
    """The texts of the findings of this kind, by their subject."""
    done = place.run("check")
    assert done.stderr == ""
    assert "hunter2" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"{kind}: ")]
    if kind == "error":
        assert done.status == (1 if lines else 0)
    return dict(line.removeprefix(f"{kind}: ").split(": ", 1) for line in lines)


@on_both_databases
def test_sound_settings_have_no_errors(production: Place) -> None:
    done = production.run("check")

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("No errors found\n")
    assert ("warning: GATEPOST_DATABASE_URL: SQLite" in done.stdout) is (
        production.database_url.startswith("sqlite")
    )


def test_settings_for_development_are_errors(place: Place) -> None:
    errors = found(place)

    assert list(errors) == [
        "migrations",
        "GATEPOST_ENVIRONMENT",
        "GATEPOST_SECRET_KEY",
        "GATEPOST_BCRYPT_COST",
        "GATEPOST_RATE_LIMITS",
        "GATEPOST_SMTP_URL",
    ]
    assert "`gatepost migrate`" in errors["migrations"]


def test_a_database_that_does_not_answer_is_an_error(place: Place) -> None:
    place.database_url = NOWHERE

    errors = found(place)

    assert errors["database"].startswith("it does not answer")
    assert "12 characters" in errors["GATEPOST_DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("PUBLIC_URL", "http://example.com", "not https"),
        ("CORS_ORIGINS", "https://example.com, http://example.org", "http://example.org is not"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 0.0.0.0/0", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0", "::/0"),
        ("RATE_LIMITS", "off", "guessed"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0", "does not answer"),
        ("BCRYPT_COST", "11", "too cheap"),
    ],
)
def test_a_dangerous_setting_is_an_error(
    production: Place, name: str, value: str, about: str
) -> None:
    production.settings[name] = value

    errors = found(production)

    assert list(errors) == [f"GATEPOST_{name}"]
    assert about in errors[f"GATEPOST_{name}"]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_replica_that_is_not_a_standby_or_does_not_answer_is_an_error(
    production: Place, postgres: PostgresServer
) -> None:
    about = "GATEPOST_DATABASE_REPLICA_URL"
    production.settings["DATABASE_REPLICA_URL"] = production.database_url
    assert found(production)[about].startswith("it is not a standby")

    production.settings["DATABASE_REPLICA_URL"] = NOWHERE
    assert found(production)[about].startswith("it does not answer")

    with running_postgres(primary=postgres) as standby:
        name = production.database_url.rpartition("/")[2]
        production.settings["DATABASE_REPLICA_URL"] = standby.url(name)
        assert about not in found(production)


def test_metrics_without_a_token_are_a_warning(production: Place) -> None:
    production.settings["METRICS"] = "on"

    assert "GATEPOST_METRICS" in found(production, "warning")

    production.settings["METRICS_TOKEN"] = "a-token-of-32-characters-or-more"
    assert "GATEPOST_METRICS" not in found(production, "warning")


def test_narrow_networks_and_https_origins_are_no_errors(
    production: Place, valkey: ValkeyServer
) -> None:
    production.settings |= {
        "PUBLIC_URL": "https://example.com",
        "CORS_ORIGINS": "https://example.com",
        "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1, fd00::/16",
        "REDIS_URL": valkey.url,
    }

    assert found(production) == {}
    assert "GATEPOST_REDIS_URL" not in found(production, "warning")


def test_a_mail_server_that_does_not_answer_or_is_not_set_is_an_error(
    production: Place,
) -> None:
    assert found(production) == {}

    production.settings["SMTP_URL"] = f"smtp://anna:hunter2@127.0.0.1:{free_port()}"
    assert list(found(production)) == ["GATEPOST_SMTP_URL"]
    del production.settings["SMTP_URL"]
    assert list(found(production)) == ["GATEPOST_SMTP_URL"]
    assert "GATEPOST_NOTICES" in found(production, "warning")
    production.settings["NOTICES"] = "off"
    assert "GATEPOST_NOTICES" not in found(production, "warning")


def test_a_missing_sender_is_an_error(production: Place) -> None:
    del production.settings["MAIL_FROM"]

    assert list(found(production)) == ["GATEPOST_MAIL_FROM"]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_more_connections_than_the_server_allows_are_an_error(
    production: Place, postgres: PostgresServer
) -> None:
    production.settings["DATABASE_CONNECTIONS"] = "50"
    room = found(production, "warning")["GATEPOST_DATABASE_CONNECTIONS"]
    # One of the worker's listens. Of the 200, three are kept for superusers.
    assert room == "51 for each worker, of 197 that the server allows: room for 3 workers"

    name = production.database_url.rpartition("/")[2]
    postgres.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 50')

    errors = found(production)
    assert errors == {
        "GATEPOST_DATABASE_CONNECTIONS": "51 for each worker, of 50 that the server allows"
    }


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_superuser_is_a_warning(production: Place) -> None:
    warnings = production.run("check").stdout

    assert "warning: GATEPOST_DATABASE_URL: its user is a superuser" in warnings


def test_an_old_key_is_a_warning_and_a_writable_directory_an_error(production: Place) -> None:
    directory = production.directory / "keys"
    directory.mkdir(mode=0o700)
    keyfile.add(directory / "keys.json", "ES256", NOON.replace(year=NOON.year - 2))
    production.settings |= {"ALGORITHM": "ES256", "KEYS_FILE": str(directory / "keys.json")}
    assert found(production) == {}
    assert "was made on" in found(production, "warning")["GATEPOST_KEYS_FILE"]

    directory.chmod(0o770)
    assert list(found(production)) == ["GATEPOST_KEYS_FILE"]
    directory.chmod(0o1777)
    assert found(production) == {}

    production.run("keys", "new")
    assert "GATEPOST_KEYS_FILE" not in found(production, "warning")


def test_a_missing_site_for_passkeys_is_a_warning(production: Place) -> None:
    assert "not set" in found(production, "warning")["GATEPOST_PUBLIC_URL"]
    for settings, warned in (
        ({"PUBLIC_URL": "https://192.0.2.1"}, True),
        ({"SECOND_FACTORS": "off"}, False),
        ({"SECOND_FACTORS": "on", "PUBLIC_URL": "https://example.com"}, False),
    ):
        production.settings |= settings
        assert ("GATEPOST_PUBLIC_URL" in found(production, "warning")) is warned


def test_admins_without_a_second_factor_are_counted(production: Place) -> None:
    about = "GATEPOST_SECOND_FACTOR_FOR"

    def counted() -> str | None:
        return found(production, "warning").get(about)

    def change(user_id: int, column: str) -> None:
        with closing(sqlite3.connect(production.directory / "gatepost.db")) as database:
            database.execute(f"UPDATE users SET {column} WHERE id = {user_id}")
            database.commit()

    assert counted() is None
    for name in ("anna", "bert", "carl"):
        command = ("create-admin", f"{name}@example.com", "--password-stdin")
        assert production.run(*command, given="correct horse battery\n").status == 0
    assert counted() == "none; admins without a second factor: 3"

    change(1, "second_factor_since = created_at")
    change(2, "is_active = FALSE")
    assert counted() == "none; admins without a second factor: 1"
    change(3, "role = 'member'")
    assert counted() is None


@on_both_databases
def test_a_lost_pepper_is_an_error(production: Place) -> None:
    def register(email: str, pepper: str) -> None:
        production.settings["PEPPER"] = pepper
        command = ("create-admin", email, "--password-stdin")
        assert production.run(*command, given="correct horse battery\n").status == 0

    register("anna@example.com", "old pepper")
    register("bert@example.com", "new pepper,old pepper")
    assert found(production) == {}

    production.settings["PEPPER"] = "new pepper"
    errors = found(production)
    assert list(errors) == ["GATEPOST_PEPPER"]
    assert errors["GATEPOST_PEPPER"].startswith("lacks the pepper of 1 stored hashes")


@pytest.mark.parametrize(
    ("settings", "unused", "condition"),
    [
        ({"TOKENS": "opaque", "ALGORITHM": "HS256"}, "ALGORITHM", "TOKENS=jose"),
        ({"TOKENS": "opaque", "AUDIENCE": "gatepost"}, "AUDIENCE", "TOKENS=jose and issuer"),
        ({"JWKS_URL": "https://provider.test/keys"}, "JWKS_URL", "TOKENS=issuer"),
        ({"METRICS_TOKEN": "0123456789abcdef"}, "METRICS_TOKEN", "METRICS=on"),
        ({"RATE_LIMITS": "off", "LIMIT_LOGINS": "5/hour"}, "LIMIT_LOGINS", "RATE_LIMITS=on"),
    ],
)
def test_a_setting_without_effect_is_a_warning(
    production: Place, settings: dict[str, str], unused: str, condition: str
) -> None:
    assert f"GATEPOST_{unused}" not in found(production, "warning")

    production.settings |= settings

    warnings = found(production, "warning")
    assert warnings[f"GATEPOST_{unused}"] == f"set, but only used with {condition}"


def test_findings_are_printed_as_json_for_scripts(place: Place) -> None:
    done = place.run("check", "--json")

    assert (done.status, done.stderr) == (1, "")
    listed = json.loads(done.stdout)
    about = [(finding["kind"], finding["about"]) for finding in listed]
    assert ("warning", "GATEPOST_DATABASE_URL") in about
    lines = [f"{finding['kind']}: {finding['about']}: {finding['text']}" for finding in listed]
    assert lines == place.run("check").stdout.splitlines()
