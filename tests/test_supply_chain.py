"""What is installed is known, and what is known against it is looked at."""

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.postgres import free_port

ROOT = Path(__file__).parents[1]
LOCKED = dict(
    re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE)
)
PASSED_OVER = [
    line.split(maxsplit=2)
    for line in (ROOT / "requirements/passed-over.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def run(target: str, arguments: str = "") -> "subprocess.CompletedProcess[str]":
    """The last command of a target, and not what sets it up."""
    told = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", target, f"ARGS={arguments}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    command = told.stdout.replace("\\\n", " ").splitlines()[-1]
    return subprocess.run(
        shlex.split(command), cwd=ROOT, check=False, capture_output=True, text=True
    )


@contextmanager
def advisories(*known: tuple[str, str]) -> Iterator[str]:
    """A service in the manner of OSV that knows of these packages and aliases of advisories."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]
            found = [
                {
                    "id": f"GHSA-{number}",
                    "aliases": [alias],
                    "affected": [{"package": package}],
                    "published": "2024-01-22T00:00:00Z",
                }
                for number, (name, alias) in enumerate(known)
                if name == package["name"]
            ]
            answer = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"--vulnerability-service osv --osv-url http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_audit_ignores_only_explained_advisories() -> None:
    explained = [(package, advisory) for package, advisory, _ in PASSED_OVER]
    with advisories(*explained) as service:
        audit = run("audit", service)
        assert audit.returncode == 0, audit.stdout + audit.stderr

    with advisories(*explained, ("starlette", "CVE-2099-1")) as service:
        audit = run("audit", service)
        assert audit.returncode == 1
        assert "starlette" in audit.stdout
        assert "ecdsa" not in audit.stdout


def test_an_audit_without_a_network_fails() -> None:
    nowhere = f"--vulnerability-service osv --osv-url http://127.0.0.1:{free_port()}"

    assert run("audit", nowhere).returncode != 0


def test_ignored_advisories_are_of_installed_packages_and_on_the_security_page() -> None:
    page = (ROOT / "docs/security.md").read_text()

    assert PASSED_OVER
    for package, advisory, reason in PASSED_OVER:
        assert package in LOCKED
        assert f"| {advisory} | {package}" in page
        assert len(reason.split()) > 5


def test_the_bill_of_materials_is_reproducible_and_complete(
    tmp_path: Path,
) -> None:
    texts = []
    (ROOT / "build").mkdir(exist_ok=True)  # as the target does first
    for name in ("one", "two"):
        made = run("sbom", f"--no-validate --output-file {tmp_path / name}")
        assert made.returncode == 0, made.stderr
        texts.append((tmp_path / name).read_text())

    bill = json.loads(texts[0])
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "gatepost"
    assert {part["name"]: part["version"] for part in bill["components"]} == LOCKED
    assert texts[0] == texts[1]
