"""Traces by OTLP over HTTP, configured by OpenTelemetry's own environment variables.

OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT turns them on. The SDK reads its
other variables (headers, sampler, service name) as its specification says. The SDK is an optional
dependency, and is imported only when traces are on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infrastructure.redaction import REDACTED, redacted_text

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_TIME_BUDGET = 3.0
"""Seconds that a stopping process waits for the receiver to accept the last spans."""

_PATH_MAX = 1000
"""Maximum length of a request's path in a span, in characters."""


def traces(environment: Mapping[str, str]) -> bool:
    """Whether these variables turn traces on."""
    return (
        any(environment.get(name) for name in _ENDPOINTS)
        and environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none"
        and environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
    )


def check_tracing(environment: Mapping[str, str]) -> list[str]:
    """The reasons why traces cannot be sent although they are on, without any variable's value."""
    if not traces(environment):
        return []
    problems = []
    name = next(name for name in _ENDPOINTS if environment.get(name))
    if find_spec("opentelemetry.exporter") is None or find_spec("opentelemetry.sdk") is None:
        problems.append(f"{name}: traces need Gatepost's extra `tracing`, which is not installed")
    try:
        url = urlsplit(environment[name])
        fits = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits:
        problems.append(f"{name}: must be http://HOST:PORT or https://HOST:PORT")
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        problems.append("OTEL_TRACES_EXPORTER: must be otlp or none")
    protocol = next((name for name in _PROTOCOLS if environment.get(name)), None)
    if protocol and environment[protocol] != "http/protobuf":
        problems.append(f"{protocol}: must be http/protobuf")
    return problems


def open_tracing() -> TracerProvider | None:
    """The tracer provider, or None when traces are off. Call `check_tracing` first."""
    if not traces(os.environ):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Redaction(SpanProcessor):
        """Redacts the URL in a span: a client may have put secrets there."""

        def on_start(self, span: SdkSpan, parent_context: object = None) -> None:  # noqa: ARG002
            attributes = span.attributes or {}
            if "url.query" in attributes:
                span.set_attribute("url.query", REDACTED)
            if path := attributes.get("url.path"):
                span.set_attribute("url.path", redacted_text(str(path)[:_PATH_MAX]))

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "gatepost"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(Redaction())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def close_tracing(provider: TracerProvider) -> None:
    """Send the remaining spans, within the time budget."""
    # In a thread, because the SDK itself waits for up to half a minute.
    thread = Thread(target=provider.shutdown, name="last-spans", daemon=True)
    thread.start()
    thread.join(_TIME_BUDGET)
