"""A client that is generated from the OpenAPI document, at work on the running service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.processes import ROOT, Service

GENERATOR = "openapi-python-client==0.29.1"

PROGRAM = """
import sys

from client import AuthenticatedClient, Client
from client.api.posts import change_post, create_post, delete_post, list_posts, read_post
from client.api.sessions import login
from client.api.users import register
from client.api.votes import cast_vote
from client.models import (
    ListPostsSort, LoginForm, PostBody, PostPatchBody, Problem, Registration
)

url = sys.argv[1]
password = "correct horse battery"
with Client(base_url=url) as public:
    registration = Registration(email="anna@example.com", password=password)
    assert register.sync(client=public, body=registration).email == "anna@example.com"
    form = LoginForm(username="anna@example.com", password=password)
    token = login.sync(client=public, body=form).access_token

with AuthenticatedClient(base_url=url, token=token) as client:
    body = PostBody(title="Hello", content="First post.")
    post = create_post.sync(client=client, body=body, idempotency_key="key")
    again = create_post.sync_detailed(client=client, body=body, idempotency_key="key")
    assert again.parsed == post
    assert again.headers["Idempotency-Replayed"] == "true"

    assert cast_vote.sync_detailed(post.id, client=client).status_code == 204
    read = read_post.sync_detailed(post.id, client=client)
    assert (read.parsed.votes, read.parsed.voted) == (1, True)
    tag = read.headers["ETag"]
    assert read_post.sync_detailed(post.id, client=client, if_none_match=tag).status_code == 304

    patch = PostPatchBody(title="New")
    assert change_post.sync(post.id, client=client, body=patch, if_match=tag).title == "New"
    stale = change_post.sync(post.id, client=client, body=patch, if_match=tag)
    assert isinstance(stale, Problem)
    assert stale.code == "post_changed"

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


@pytest.mark.slow
def test_a_generated_client_works(service: Service, tmp_path: Path) -> None:
    if in_an_environment_of_its_own(tmp_path, "openapi-python-client", "--version").returncode:
        pytest.skip(f"uv cannot fetch {GENERATOR}")
    document = tmp_path / "openapi.json"
    with service.client() as client:
        document.write_text(client.get("/openapi.json").text)

    generated = in_an_environment_of_its_own(
        tmp_path,
        *("openapi-python-client", "generate", "--path", str(document)),
        *("--output-path", str(tmp_path / "client"), "--meta", "none", "--fail-on-warning"),
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    (tmp_path / "program.py").write_text(PROGRAM)
    driven = in_an_environment_of_its_own(tmp_path, "python", "program.py", service.url)

    assert driven.returncode == 0, driven.stdout + driven.stderr
