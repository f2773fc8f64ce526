"""A container whose file system is read-only, with no place for temporary files."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.processes import ROOT, Launcher, Place

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


@pytest.fixture(scope="module")
def sealed_launcher() -> Iterator[Launcher]:
    variables = {"PYTHONDONTWRITEBYTECODE": "1"}
    with Launcher(WITHIN, directory=Path("/tmp"), variables=variables) as launcher:
        yield launcher


@pytest.fixture
def sealed(place: Place, sealed_launcher: Launcher) -> Place:
    place.settings |= {
        "ENVIRONMENT": "production",
        "SECRET_KEY": "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP",
        "DRAIN_SECONDS": "0",
        "METRICS": "on",
    }
    place.variables |= {"TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    place.launcher = sealed_launcher
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


def test_metrics_of_several_workers_are_refused_in_one_line(sealed: Place) -> None:
    assert sealed.refusal("serve", "--workers", "2") == (
        "GATEPOST_METRICS: several workers need a directory for temporary files;"
        " set TMPDIR, or METRICS=off"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["check"],
        ["purge"],
        ["openapi"],
        ["create-admin", "admin@example.com", "--password-stdin"],
        ["seed", "--users", "3", "--posts", "3"],  # posts only
    ],
    ids=" ".join,
)
def test_a_command_works(sealed: Place, arguments: list[str]) -> None:
    if arguments[0] == "seed":
        sealed.settings["ENVIRONMENT"] = "development"

    worked = sealed.run(*arguments, given="correct horse battery\n")

    assert worked.status == (1 if arguments == ["check"] else 0), worked.stderr
    assert worked.stderr == ""
    assert worked.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "new"],
        ["migrate"],
        ["serve"],
        ["seed"],  # posts only
        ["purge"],
    ],
    ids=" ".join,
)
def test_a_command_that_has_to_write_a_file_fails_in_one_line(
    sealed: Place, arguments: list[str]
) -> None:
    sealed.settings |= {"ENVIRONMENT": "development", "KEYS_FILE": "/tmp/keys.json"}
    sealed.database_url = "sqlite:////tmp/gatepost.db"

    line = sealed.refusal(*arguments)

    assert "Read-only" in line or "unable to open" in line
