"""Requests to addresses that clients gave us, as a port."""

from collections.abc import Mapping
from typing import Protocol

from application.errors import raises
from application.ports.adapter import Adapter
from domain.webhooks import BadWebhookUrl, HttpsRequired, NotAPublicAddress, UnresolvableHost


class NotAnswered(Exception):
    """There was no answer, or the request was not sent. Its text says why, without the URL."""


class Outgoing(Adapter, Protocol):
    @raises(BadWebhookUrl, HttpsRequired, UnresolvableHost, NotAPublicAddress)
    async def check_url(self, url: str) -> None:
        """Raises `BadWebhookUrl`, `HttpsRequired`, `UnresolvableHost` or `NotAPublicAddress` unless
        requests may be sent to `url`.
        """
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send one request within 15 seconds and return the status of its answer. Redirects are not
        followed; at most 64 KiB of the answer are read.

        The address that is connected to was checked as by `check_url`, after it was resolved.
        Raises `NotAnswered`.
        """
        ...
