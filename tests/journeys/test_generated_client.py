"""Clients that are generated from the OpenAPI document take the README's tour on the service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.processes import ROOT, Service
from tests.programs import program

GENERATOR = "openapi-python-client==0.29.1"

PROGRAM = """
import sys

from client import AuthenticatedClient, Client
from client.api.posts import change_post, create_post, delete_post, list_posts, read_post
from client.api.sessions import login
from client.api.users import read_current_user, register
from client.api.votes import cast_vote
from client.models import (
    InvalidCredentialsProblem, InvalidTokenProblem, ListPostsSort, LoginForm, PostBody,
    PostChangedProblem, PostNotFoundProblem, PostPatchBody, Registration, TokensView,
    ValidationFailedProblem,
)

url = sys.argv[1]
password = "correct horse battery"
with Client(base_url=url) as public:
    registration = Registration(email="anna@example.com", password=password, name="Anna")
    anna = register.sync(client=public, body=registration)
    assert anna.email == "anna@example.com"
    refused = login.sync(client=public, body=LoginForm(username=anna.email, password="wrong"))
    assert isinstance(refused, InvalidCredentialsProblem)
    malformed = login.sync(client=public, body=LoginForm(username=anna.email, password=""))
    assert isinstance(malformed, ValidationFailedProblem)
    assert malformed.errors[0].loc == ["body", "password"]
    tokens = login.sync(client=public, body=LoginForm(username=anna.email, password=password))
    assert isinstance(tokens, TokensView)

with AuthenticatedClient(base_url=url, token="nonsense") as client:
    assert isinstance(read_current_user.sync(client=client), InvalidTokenProblem)

with AuthenticatedClient(base_url=url, token=tokens.access_token) as client:
    assert read_current_user.sync(client=client) == anna
    body = PostBody(title="Hello", content="First post.")
    post = create_post.sync(client=client, body=body, idempotency_key="key")
    again = create_post.sync_detailed(client=client, body=body, idempotency_key="key")
    assert again.parsed == post
    assert again.headers["Idempotency-Replayed"] == "true"
    assert isinstance(read_post.sync(10**6, client=client), PostNotFoundProblem)

    assert cast_vote.sync_detailed(post.id, client=client).status_code == 204
    read = read_post.sync_detailed(post.id, client=client)
    assert (read.parsed.votes, read.parsed.voted) == (1, True)
    tag = read.headers["ETag"]
    assert read_post.sync_detailed(post.id, client=client, if_none_match=tag).status_code == 304

    patch = PostPatchBody(title="New")
    assert change_post.sync(post.id, client=client, body=patch, if_match=tag).title == "New"
    stale = change_post.sync(post.id, client=client, body=patch, if_match=tag)
    assert isinstance(stale, PostChangedProblem)
    assert (stale.status, stale.code) == (412, "post_changed")

    found = list_posts.sync(client=client, q="first*", sort=ListPostsSort.TOP, limit=1)
    assert [(item.id, item.title, item.version) for item in found] == [(post.id, "New", 2)]

    assert delete_post.sync_detailed(post.id, client=client).status_code == 204
    assert read_post.sync(post.id, client=client).code == "post_not_found"
"""


def in_an_environment_of_its_own(
    directory: Path, *command: str
) -> "subprocess.CompletedProcess[str]":
    """Run `command` where the generator is, whose own dependencies would not go with ours."""
    uv = Path(sys.executable).with_name("uv")
    cache = ROOT / ".venv" / "uv"
    return subprocess.run(
        [str(uv), "run", "--quiet", "--no-project", "--with", GENERATOR, *command],
        cwd=directory,
        env=dict(os.environ) | {"UV_CACHE_DIR": str(cache), "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def document_of(service: Service, directory: Path) -> Path:
    document = directory / "openapi.json"
    with service.client() as client:
        document.write_text(client.get("/openapi.json").text)
    return document


@pytest.mark.slow
def test_a_generated_python_client_takes_the_tour(service: Service, tmp_path: Path) -> None:
    if in_an_environment_of_its_own(tmp_path, "openapi-python-client", "--version").returncode:
        pytest.skip(f"uv cannot fetch {GENERATOR}")
    document = document_of(service, tmp_path)

    generated = in_an_environment_of_its_own(
        tmp_path,
        *("openapi-python-client", "generate", "--path", str(document)),
        *("--output-path", str(tmp_path / "client"), "--meta", "none", "--fail-on-warning"),
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    (tmp_path / "program.py").write_text(PROGRAM)
    driven = in_an_environment_of_its_own(tmp_path, "python", "program.py", service.url)

    assert driven.returncode == 0, driven.stdout + driven.stderr


@pytest.fixture(scope="module")
def typescript(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tour in TypeScript, and the types that the document makes."""
    directory = tmp_path_factory.mktemp("typescript")
    program("npm")
    shutil.copytree(ROOT / "tests" / "clients" / "typescript", directory, dirs_exist_ok=True)
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    if (installed := npm(directory, "install", *options)).returncode:
        pytest.skip(f"npm cannot fetch what package.json names:\n{installed.stderr}")
    document = document_of(service, directory)
    made = npm(directory, "exec", "openapi-typescript", str(document), "--", "-o", "schema.d.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    return directory


def npm(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    cache = ROOT / ".venv" / "npm"
    return subprocess.run(
        ["npm", *arguments],
        cwd=directory,
        env=dict(os.environ) | {"npm_config_cache": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_a_generated_typescript_client_takes_the_tour(service: Service, typescript: Path) -> None:
    compiled = npm(typescript, "exec", "tsc")
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr

    driven = subprocess.run(
        [program("node"), "build/tour.js", service.url],
        cwd=typescript,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (driven.returncode, driven.stdout) == (0, "The tour is over\n"), driven.stderr


@pytest.mark.slow
def test_a_switch_that_misses_a_code_does_not_compile(typescript: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(typescript / "node_modules")
    for name in ("package.json", "tsconfig.json", "schema.d.ts", "tour.ts"):
        shutil.copy(typescript / name, tmp_path)
    tour = tmp_path / "tour.ts"
    missed = '    case "hashing_busy":\n'
    assert missed in tour.read_text()
    tour.write_text(tour.read_text().replace(missed, ""))

    compiled = npm(tmp_path, "exec", "tsc", "--", "--noEmit")

    assert compiled.returncode != 0
    assert 'code: "hashing_busy"' in compiled.stdout
    assert "is not assignable to parameter of type 'never'" in compiled.stdout
