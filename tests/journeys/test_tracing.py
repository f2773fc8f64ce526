"""Traces: to a receiver that OpenTelemetry's variables name, and nowhere otherwise."""

import json
import subprocess
import sys
from pathlib import Path

from tests.journeys.processes import ROOT, Place
from tests.otlp import running_receiver

PASSWORD = "correct horse battery"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_requests_are_spans_with_their_route_and_no_secret_up_to_the_last(place: Place) -> None:
    place.settings["LOG_FORMAT"] = "json"
    with running_receiver() as receiver:
        # In an hour, if the end of the service did not send them.
        place.variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        }
        with place.serving() as service, service.client() as client:
            account = {"email": "anna@example.com", "password": PASSWORD}
            assert client.post("/users", json=account).status_code == 201
            form = {"username": "anna@example.com", "password": PASSWORD}
            tokens = client.post("/login", data=form).json()
            headers = {
                "Authorization": f"Bearer {tokens['access_token']}",
                "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
            }
            client.get("/posts/4711", headers=headers, params={"token": tokens["refresh_token"]})
            client.get(f"/nowhere/{tokens['refresh_token']}/{tokens['access_token']}")
            line = json.loads(service.wait_for_line("/posts/{post_id}"))
        spans = {span.name: span for span in receiver.spans}

    span = spans["GET /posts/{post_id}"]
    assert span.attributes["http.route"] == "/posts/{post_id}"
    assert span.attributes["http.response.status_code"] == 404
    assert span.attributes["service.name"] == "gatepost"
    assert span.trace_id == TRACE == line["trace_id"]
    assert spans["POST /login"].trace_id != TRACE
    assert spans["GET"].attributes["url.path"] == "/nowhere/[redacted]/[redacted]"
    for secret in (tokens["access_token"], tokens["refresh_token"], PASSWORD, "anna@"):
        assert secret not in receiver.received


def test_traces_that_can_not_be_sent_are_a_clear_error_at_the_start(place: Place) -> None:
    place.variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "user:hunter2@collector",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }

    assert place.refusals("serve") == [
        "OTEL_EXPORTER_OTLP_ENDPOINT: must be http://HOST:PORT or https://HOST:PORT",
        "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf",
    ]


def test_without_the_extra_traces_are_a_clear_error_at_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "gatepost: OTEL_EXPORTER_OTLP_ENDPOINT: traces need Gatepost's extra `tracing`,"
        " which is not installed\n"
    )


WITHOUT_THE_EXTRA = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if not name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.argv = ["gatepost", "serve", "--port", "0"]
import cli
cli.main()
"""
