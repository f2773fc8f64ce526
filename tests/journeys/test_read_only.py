"""A container whose file system is read-only, with no place for temporary files."""

import os
import shutil
import subprocess

import pytest

from tests.journeys.processes import COMMAND, ROOT, TIME_BUDGET, Place

# The checkout stays, also when it is below one of the places.
READ_ONLY = """
checkout=$1; shift
mount --bind "$checkout" /mnt
for place in /tmp /var/tmp /usr/tmp /dev/shm; do
    test -d $place || continue
    mount -t tmpfs tmpfs $place
    case $checkout in
        $place/*) mkdir -p "$checkout"; mount --bind /mnt "$checkout" ;;
    esac
    mount -o remount,ro $place
done
cd /tmp && exec "$@"
"""
WITHIN = ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", str(ROOT)]


def has_mount_namespaces() -> bool:
    if shutil.which("unshare") is None or os.geteuid() != 0:
        return False
    done = subprocess.run([*WITHIN, "true"], check=False, capture_output=True)
    return done.returncode == 0


pytestmark = [
    pytest.mark.skipif(not has_mount_namespaces(), reason="mount namespaces need root and unshare"),
    pytest.mark.parametrize("kind", ["postgresql"], indirect=True),
]


@pytest.fixture
def sealed(place: Place) -> Place:
    place.settings |= {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP",
        "DRAIN_SECONDS": "0",
        "METRICS": "on",
    }
    place.variables |= {"TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    place.within = WITHIN
    return place


@pytest.mark.parametrize(("workers", "metrics"), [("1", "on"), ("2", "off")])
def test_the_service_serves(sealed: Place, workers: str, metrics: str) -> None:
    sealed.settings["METRICS"] = metrics
    with sealed.serving("--workers", workers) as service, service.client() as client:
        account = {"email": "anna@example.com", "password": "correct horse battery"}
        assert client.post("/users", json=account).status_code == 201
        parts = {"username": (None, account["email"]), "password": (None, account["password"])}
        assert client.post("/login", files=parts).status_code == 200
        assert client.get("/docs").status_code == 200
        assert client.get("/metrics").status_code == (200 if metrics == "on" else 404)


def done(place: Place, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*WITHIN, *COMMAND, *arguments],
        check=False,
        capture_output=True,
        cwd=place.directory,
        env=place.environment(),
        input=given,
        text=True,
        timeout=TIME_BUDGET,
    )


def test_metrics_of_several_workers_are_refused_in_one_line(sealed: Place) -> None:
    refused = done(sealed, "serve", "--workers", "2")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "gatepost: GATEPOST_METRICS: several workers need a directory for temporary files;"
        " set TMPDIR, or METRICS=off\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["check"],
        ["purge"],
        ["openapi"],
        ["create-admin", "admin@example.com", "--password-stdin"],
        ["seed", "--users", "3", "--posts", "3"],
    ],
    ids=" ".join,
)
def test_a_command_works(sealed: Place, arguments: list[str]) -> None:
    if arguments[0] == "seed":
        sealed.settings["ENVIRONMENT"] = "development"

    worked = done(sealed, *arguments, given="correct horse battery\n")

    assert worked.returncode == (1 if arguments == ["check"] else 0), worked.stderr
    assert worked.stderr == ""
    assert worked.stdout


@pytest.mark.parametrize(
    "arguments", [["keys", "new"], ["migrate"], ["serve"], ["seed"], ["purge"]], ids=" ".join
)
def test_what_must_write_a_file_says_so_in_one_line(sealed: Place, arguments: list[str]) -> None:
    sealed.settings |= {"ENVIRONMENT": "development", "KEYS_FILE": "/tmp/keys.json"}
    sealed.database_url = "sqlite:////tmp/gatepost.db"

    refused = done(sealed, *arguments)

    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("gatepost: ")
    assert "Read-only" in line or "unable to open" in line
