"""Behind the haproxy that docs/operating.md shows."""

import json
import re
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.journeys.processes import ROOT
from tests.machines import haproxy
from tests.postgres import free_port
from tests.smtp import Certificate


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


def test_the_proxy_tells_the_scheme_whatever_the_client_says(echo: str, tmp_path: Path) -> None:
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
