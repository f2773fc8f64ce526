"""The command `gatepost`: what it does, and what it says when it can't."""

import json
import os
import re
import signal
import sqlite3
import stat
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_command

import cli
from tests.infrastructure.test_environment import KUBERNETES
from tests.journeys.processes import ROOT, TIME_BUDGET, Place, Service, on_both_databases

PASSWORD = "correct horse battery"
SECRET = "vX3kQ8mZ5rT1wN7yB4sL9dH2jF6gC0pU"
NOWHERE = "postgresql://gatepost:hunter2@127.0.0.1:1/gatepost"


def log_in(client: httpx.Client, email: str, password: str = PASSWORD) -> dict[str, str]:
    answer = client.post("/login", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_serving_tells_where_the_api_and_its_page_are(service: Service) -> None:
    with service.client() as client:
        assert service.url.startswith("http://127.0.0.1:")
        assert client.get("/docs").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        assert "server" not in client.get("/health/live").headers


def test_ctrl_c_ends_serving_without_a_traceback(place: Place) -> None:
    with place.serving() as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(TIME_BUDGET) in (0, 130)
        assert "Traceback" not in service.log.read_text()


def test_a_port_in_use_is_one_clear_line(place: Place, service: Service) -> None:
    port = httpx.URL(service.url).port

    line = place.refusal("serve", "--port", str(port))

    assert line == f"cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_a_host_of_another_machine_is_one_clear_line(place: Place) -> None:
    assert place.refusal("serve", "--host", "192.0.2.1", "--port", "0").startswith(
        "cannot listen on 192.0.2.1 port 0: "
    )


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["create-admin", "a@example.com"]])
def test_an_unreachable_database_is_one_clear_line(place: Place, command: list[str]) -> None:
    place.database_url = NOWHERE

    line = place.refusal(*command, given=f"{PASSWORD}\n")

    assert "database" in line.lower()
    assert "not answer" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///gatepost.db?mode=ro", "mode: there is no such option for SQLite"),
        (f"{NOWHERE}?channel_binding=require", "channel_binding: cannot be required"),
    ],
)
def test_an_option_of_the_database_that_is_not_known_is_one_clear_line(
    place: Place, url: str, reason: str
) -> None:
    place.database_url = url

    for command in ("serve", "migrate", "check"):
        assert place.refusal(command).startswith(f"GATEPOST_DATABASE_URL: {reason}")


def test_spaces_around_the_address_of_the_database_are_ignored(place: Place) -> None:
    path = Path(place.directory) / "spaced.db"
    place.database_url = f" sqlite:///{path} "

    assert place.run("migrate").stderr == ""

    assert path.exists()


def test_a_server_without_tls_is_reported(place: Place, postgres_url: str) -> None:
    place.database_url = f"{postgres_url}?sslmode=require"

    for command in ("serve", "migrate"):
        assert "the server takes no TLS, which sslmode asks for" in place.refusal(command)
    assert "the server takes no TLS" in place.run("check").stdout


def test_a_missing_directory_is_one_clear_line(place: Place) -> None:
    place.database_url = f"sqlite:///{place.directory}/missing/gatepost.db"

    assert place.refusal("serve") == "The database does not answer: unable to open database file"


def test_a_schema_that_is_too_old_is_not_served_on_postgresql(
    place: Place, empty_postgres_url: str
) -> None:
    place.database_url = empty_postgres_url

    assert "`gatepost migrate`" in place.refusal("serve", "--port", "0")

    migrated = place.run("migrate")
    assert (migrated.status, migrated.stderr) == (0, "")
    assert migrated.stdout.startswith("The schema is at revision ")
    assert place.run("migrate").stdout == migrated.stdout
    assert "migrations" not in place.run("check").stdout


def test_an_embedded_database_is_migrated_by_serving(service: Service) -> None:
    with closing(sqlite3.connect(service.place.directory / "gatepost.db")) as connection:
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()

    assert len(revision) == 1


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("ENVIRONMENT", "hunter2", "'development' or 'production'"),
        ("DATABASE_URL", "mysql://hunter2@localhost/x", "sqlite:///FILE or postgresql://"),
        (
            "DATABASE_URL",
            "postgresql://gatepost:p/hunter2@localhost/x",
            "sqlite:///FILE or postgresql://",
        ),
        (
            "DATABASE_URL",
            "postgresql://gatepost:a#hunter2@localhost/x",
            "sqlite:///FILE or postgresql://",
        ),
        ("DATABASE_URL", "sqlite:///", "sqlite:///FILE or postgresql://"),
        ("ACCESS_TOKEN_TTL", "hunter2", "integer"),
        ("ACCESS_TOKEN_TTL", "0", "greater than or equal to 1"),
        ("BCRYPT_COST", "3", "greater than or equal to 4"),
        ("TRUSTED_PROXIES", "10.0.0.1, hunter2", "addresses or networks"),
        ("CORS_ORIGINS", "*", "must be an origin"),
        ("CORS_ORIGINS", '["https://hunter2.example"]', "comma-separated"),
        ("PUBLIC_URL", "hunter2.example", "must be an origin"),
        ("ISSUER", "https://hunter2.example/.well-known/x", "without /.well-known"),
        ("AUDIENCE", "hunter2, b", "one name"),
        ("SECRET_KEY", '"hunter2"', "in quotes"),
        ("LOG_FORMAT", "hunter2", "'console' or 'json'"),
        ("FASTPATH", "hunter2", "'on' or 'off'"),
    ],
)
def test_a_bad_setting_is_one_line_with_its_name_and_without_its_value(
    place: Place, name: str, value: str, about: str
) -> None:
    place.settings[name] = value

    line = place.refusal("check")

    assert line.startswith(f"GATEPOST_{name}: ")
    assert about in line
    assert "hunter2" not in line


def test_every_bad_setting_and_every_unknown_one_has_a_line(place: Place) -> None:
    place.settings |= {"DATABASE_URI": "x", "LOG_FORMAT": "y", "PORT": "hunter2"}

    lines = place.refusals("check")

    assert [line.partition(":")[0] for line in lines] == [
        "GATEPOST_DATABASE_URI",
        "GATEPOST_PORT",
        "GATEPOST_LOG_FORMAT",
    ]
    assert lines[0] == (
        "GATEPOST_DATABASE_URI: there is no such setting; do you mean GATEPOST_DATABASE_URL?"
    )
    assert lines[1] == "GATEPOST_PORT: there is no such setting"


def test_an_unknown_setting_in_a_file_is_found_too_and_other_programs_variables_are_not(
    place: Place,
) -> None:
    (place.directory / ".env").write_text("POSTGRES_PASSWORD=x\nGATEPOST_SECRET_KEI=hunter2\n")

    assert place.refusal("check") == (
        "GATEPOST_SECRET_KEI: there is no such setting; do you mean GATEPOST_SECRET_KEY?"
    )


def test_variables_that_kubernetes_sets_for_a_service_of_this_name_are_ignored(
    place: Place,
) -> None:
    place.settings |= {name.removeprefix("GATEPOST_"): value for name, value in KUBERNETES.items()}
    assert place.run("migrate").stderr == ""

    place.settings["PORT"] = "8000"  # which nothing but a person would write

    assert place.refusal("migrate") == "GATEPOST_PORT: there is no such setting"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_one_clear_line(place: Place, encoding: str) -> None:
    (place.directory / ".env").write_bytes("GATEPOST_ISSUER=für\n".encode(encoding))

    assert place.refusal("migrate") == ".env: is not UTF-8; save it in that encoding"


def test_a_secret_in_a_file_is_used_verbatim(place: Place) -> None:
    secret = "${HOME}" + SECRET
    (place.directory / ".env").write_text(f"GATEPOST_SECRET_KEY={secret}\n")
    with place.serving() as service, service.client() as client:
        client.post("/users", json={"email": "anna@example.com", "password": PASSWORD})
        anna = log_in(client, "anna@example.com")

    place.settings["SECRET_KEY"] = secret
    with place.serving() as service, service.client() as client:
        assert client.get("/users/me", headers=anna).status_code == 200


def test_an_origin_is_recognized_however_it_is_spelled(place: Place) -> None:
    place.settings["CORS_ORIGINS"] = "HTTPS://App.Example.com:443/, http://localhost:3000/,"
    with place.serving() as service, service.client() as client:
        for origin in ("https://app.example.com", "http://localhost:3000"):
            answer = client.get("/health/live", headers={"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == origin


def test_settings_come_from_a_file_and_the_environment_comes_first(place: Place) -> None:
    (place.directory / ".env").write_text(
        "GATEPOST_ACCESS_TOKEN_TTL=120\nGATEPOST_REFRESH_TOKEN_TTL=7200\n"
    )
    place.settings["REFRESH_TOKEN_TTL"] = "3600"

    with place.serving() as service, service.client() as client:
        client.post("/users", json={"email": "anna@example.com", "password": PASSWORD})
        form = {"username": "anna@example.com", "password": PASSWORD}
        tokens = client.post("/login", data=form).json()

    assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (120, 3600)


@pytest.mark.parametrize("command", ["serve", "check", "openapi"])
def test_production_without_a_secret_is_refused(place: Place, command: str) -> None:
    place.settings["ENVIRONMENT"] = "production"

    assert place.refusal(command).startswith("GATEPOST_SECRET_KEY: required in production")
    assert not list(place.directory.glob("*.secret"))


@pytest.mark.parametrize("tokens", ["jose", "opaque", "issuer"])
@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.parametrize(
    "secret",
    ["hunter2", "changeme" * 8, "GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk"],
    ids=["short", "a placeholder", "published"],
)
def test_a_weak_secret_is_refused_by_its_setting_and_not_repeated(
    place: Place, tokens: str, environment: str, secret: str
) -> None:
    place.settings |= {"ENVIRONMENT": environment, "TOKENS": tokens, "SECRET_KEY": secret}

    line = place.refusal("serve", "--port", "0")

    assert line.startswith("GATEPOST_SECRET_KEY: The secret is ")
    assert secret not in line


def test_a_weak_secret_in_the_file_of_development_is_refused(place: Place) -> None:
    (place.directory / "gatepost.secret").write_text("hunter2\n")

    line = place.refusal("serve", "--port", "0")

    assert line.startswith("GATEPOST_SECRET_KEY: ")
    assert line.endswith(
        "gatepost.secret: The secret is shorter than 32 bytes (RFC 7518, section 3.2)"
    )


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ('{"hunter2": []}', 0o600, "it is no JWK set"),
        ('{"keys": []}', 0o644, "other users can access it"),
        ('{"keys": [{"kty": "EC"}]}', 0o600, "A JWK can't sign tokens"),
        ('{"keys": [{"kty": "oct", "k": "hunter2"}]}', 0o600, "The secret is shorter"),
    ],
)
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["check"], ["keys", "list"]])
def test_a_bad_key_file_is_refused_by_its_setting(
    place: Place, command: list[str], content: str, mode: int, reason: str
) -> None:
    file = place.directory / "signing.json"
    file.write_text(content)
    file.chmod(mode)
    place.settings["KEYS_FILE"] = "signing.json"

    line = place.refusal(*command)

    assert line.startswith(f"GATEPOST_KEYS_FILE: signing.json: {reason}")
    assert "hunter2" not in line


def test_the_secret_of_development_is_made_once_and_outlives_a_restart(place: Place) -> None:
    file = place.directory / "gatepost.secret"
    with place.serving() as service, service.client() as client:
        client.post("/users", json={"email": "anna@example.com", "password": PASSWORD})
        anna = log_in(client, "anna@example.com")
    secret = file.read_text()
    assert [path.name for path in place.directory.glob("*secret*")] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(secret) > 32

    with place.serving() as service, service.client() as client:
        assert client.get("/users/me", headers=anna).status_code == 200
    assert file.read_text() == secret

    file.unlink()
    with place.serving() as service, service.client() as client:
        assert client.get("/users/me", headers=anna).status_code == 401


def test_with_a_server_database_the_secret_lies_in_the_working_directory(place: Place) -> None:
    place.database_url = NOWHERE

    place.run("check")

    (file,) = place.directory.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("gatepost.secret", 0o600)


def test_the_mode_of_the_secret_does_not_depend_on_the_umask(place: Place) -> None:
    before = os.umask(0)
    try:
        place.run("check")
    finally:
        os.umask(before)

    assert stat.S_IMODE((place.directory / "gatepost.secret").stat().st_mode) == 0o600


@on_both_databases
def test_an_admin_is_registered_and_a_second_call_keeps_the_password(
    service: Service,
) -> None:
    def create_admin(email: str, password: str) -> str:
        done = service.place.run("create-admin", email, "--password-stdin", given=password)
        assert (done.status, done.stderr) == (0, "")
        return done.stdout

    assert create_admin("boss@example.com", f"{PASSWORD}\n") == (
        "boss@example.com is registered as an admin\n"
    )
    with service.client() as client:
        boss = client.get("/users/me", headers=log_in(client, "boss@example.com")).json()
        assert (boss["role"], boss["email"]) == ("admin", "boss@example.com")
    assert "the password kept" in create_admin("BOSS@example.com", "")


def test_an_existing_account_becomes_an_admin_only_with_a_new_password_and_no_sessions(
    service: Service,
) -> None:
    command = ("create-admin", "ops@example.com", "--password-stdin")
    new = "staple battery horse"
    with service.client() as client:
        client.post("/users", json={"email": "ops@example.com", "password": PASSWORD})
        stranger = log_in(client, "ops@example.com")

        refusal = service.place.refusal(*command, given=f"{new}\n")
        assert "may be a stranger's; --unverified --reset-password" in refusal
        assert client.get("/users/me", headers=stranger).json()["role"] == "member"
        done = service.place.run(*command, "--unverified", "--reset-password", given=f"{new}\n")
        assert done.stdout == "ops@example.com is an admin now, the password replaced\n"

        assert client.get("/users/me", headers=stranger).status_code == 401
        ours = log_in(client, "ops@example.com", new)
        assert client.get("/users/me", headers=ours).json()["role"] == "admin"


@pytest.mark.parametrize(
    ("email", "given", "about"),
    [
        ("boss@example.com", "short\n", "12 to 128 characters"),
        ("boss@example.com", "", "12 to 128 characters"),
        ("boss@example.com", "boss@example.com\n", "e-mail address"),
        ("boss", f"{PASSWORD}\n", "email must be an address"),
    ],
)
def test_a_weak_password_and_a_bad_address_make_no_admin(
    place: Place, email: str, given: str, about: str
) -> None:
    place.run("migrate")

    line = place.refusal("create-admin", email, "--password-stdin", given=given)

    assert about in line
    assert given.strip() == "" or given.strip() not in line.replace("e-mail", "")


def test_a_password_line_may_end_as_on_windows_or_not_at_all(service: Service) -> None:
    for number, end in enumerate(["", "\n", "\r\n", "\nmore\n"]):
        email = f"admin{number}@example.com"
        made = service.place.run("create-admin", email, "--password-stdin", given=PASSWORD + end)
        assert made.status == 0, made.stderr
        with service.client() as client:
            log_in(client, email)


def test_openapi_prints_the_document_of_the_snapshot(place: Place) -> None:
    done = place.run("openapi")

    assert (done.status, done.stderr) == (0, "")
    known = Path(__file__).parents[1] / "openapi.json"
    assert json.loads(done.stdout) == json.loads(known.read_text())
    assert list(place.directory.iterdir()) == []


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """All there are, by what is typed for them."""
    group = group or get_command(cli.app)
    yield name, group
    for part, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {part}".strip())


COMMANDS = dict(commands())


def test_the_commands_are_those_of_the_contract() -> None:
    assert COMMANDS.keys() - {"", "keys"} == {
        *("serve", "migrate", "check", "create-admin", "openapi", "purge", "jobs"),
        "seed",  # posts only
        *("keys new", "keys list", "keys retire", "rules", "errors"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_explains_itself(place: Place, name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [option.name for option in command.params if not option.help] == []

    done = place.run(*name.split(), "--help")

    assert (done.status, done.stderr) == (0, "")
    assert f"Usage: gatepost {name}".strip() in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", done.stdout).split())
    for said in [command.help, *(option.help for option in command.params)]:
        assert " ".join(said.split()) in shown
    for part, inner in getattr(command, "commands", {}).items():
        assert part in shown
        assert inner.help.partition("\n")[0] in shown


def test_the_version_is_that_of_the_package(place: Place) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert place.run("--version").stdout == f"gatepost {project['version']}\n"


def test_keys_are_listed_as_json_for_scripts(place: Place) -> None:
    place.settings |= {"ALGORITHM": "ES256", "KEYS_FILE": "keys.json"}
    made = [json.loads(place.run("keys", "new", "--json").stdout) for _ in range(2)]

    listed = json.loads(place.run("keys", "list", "--json").stdout)

    assert [{"kid": key["kid"], "algorithm": key["algorithm"]} for key in listed] == made
    assert [key["use"] for key in listed] == ["verifies", "signs"]
    for key in listed:
        assert key.keys() == {"kid", "algorithm", "made", "use"}
        assert datetime.fromisoformat(key["made"]).utcoffset() == timedelta()
    lines = place.run("keys", "list").stdout.splitlines()
    assert [line.split() for line in lines] == [list(key.values()) for key in listed]


def test_an_unknown_command_is_refused(place: Place) -> None:
    done = place.run("sevre")

    assert done.status == 2
    assert "Traceback" not in done.stderr
    assert "No such command" in done.stderr
