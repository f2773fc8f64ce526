"""Behind the haproxy that docs/operating.md shows."""

import json
import re
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.journeys.processes import ROOT, TIME_BUDGET, Place
from tests.machines import haproxy
from tests.postgres import free_port
from tests.smtp import Certificate

PASSWORD = "correct horse battery"


def documented_configuration(port: int, server: str) -> str:
    """The one of docs/operating.md, which listens on `port` and has one `server`."""
    page = (ROOT / "docs" / "operating.md").read_text()
    (found,) = re.findall(r"```haproxy\n(.*?)```", page, re.DOTALL)
    found = found.replace(":8080", f"127.0.0.1:{port}").replace("10.0.0.1:8000", server)
    return re.sub(r" *server two .*\n", "", found)


class _Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_scheme_is_that_of_the_proxy_and_not_of_the_client(echo: str, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    file = tmp_path / "gatepost.pem"
    file.write_bytes(certificate.path.read_bytes() + (tmp_path / "key.pem").read_bytes())
    plain, tls = free_port(), free_port()
    configuration = documented_configuration(plain, echo).replace(
        "frontend gatepost\n", f"frontend gatepost\n bind 127.0.0.1:{tls} ssl crt {file}\n"
    )
    trust = ssl.create_default_context(cafile=str(certificate.path))

    with haproxy(configuration), httpx.Client(verify=trust) as client:
        for scheme, port in ("http", plain), ("https", tls):
            for said in ("http", "https"):
                url, headers = f"{scheme}://127.0.0.1:{port}/", {"X-Forwarded-Proto": said}
                seen = client.get(url, headers=headers).json()
                assert seen["x-forwarded-proto"] == scheme


@pytest.fixture
def prefixed(place: Place) -> Iterator[httpx.Client]:
    """A client of a service behind a proxy that takes `/api` off."""
    proxy, port = free_port(), free_port()
    page = (ROOT / "docs" / "operating.md").read_text()
    (rule,) = re.findall(r"^    (http-request replace-path .*)$", page, re.MULTILINE)
    configuration = documented_configuration(proxy, f"127.0.0.1:{port}").replace(
        "frontend gatepost\n", f"frontend gatepost\n {rule}\n"
    )
    place.settings |= {"ROOT_PATH": "/api/", "TRUSTED_PROXIES": "127.0.0.1"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=TIME_BUDGET)
    with place.serving(port=port), haproxy(configuration), client:
        while client.get("/api/health/live").status_code == 503:
            time.sleep(0.05)
        yield client


def test_behind_a_proxy_that_strips_a_prefix_every_address_has_it(
    prefixed: httpx.Client,
) -> None:
    page = prefixed.get("/api/docs")
    document = prefixed.get("/api/openapi.json").json()
    assets = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    account = {"email": "anna@example.com", "password": PASSWORD}
    registered = prefixed.post("/api/users", json=account)
    form = {"username": account["email"], "password": PASSWORD}
    token = prefixed.post("/api/login", data=form).json()["access_token"]
    prefixed.headers["Authorization"] = f"Bearer {token}"
    written = [
        prefixed.post("/api/posts/", json={"title": "Hello", "content": "A post."})
        for _ in range(2)
    ]
    first = prefixed.get("/api/posts", params={"limit": 1})

    assert len(assets) == 5
    assert {prefixed.get(asset).status_code for asset in assets} == {200}
    assert document["servers"] == [{"url": "/api"}]
    for created in (registered, *written):
        assert created.headers["Location"].startswith("/api/")
    assert prefixed.get(written[0].headers["Location"]).json() == written[0].json()
    following = first.links["next"]["url"]
    assert following.startswith("/api/posts?")
    assert prefixed.get(following).json()[0]["id"] == written[0].json()["id"]
