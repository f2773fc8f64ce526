import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from application.ports.outgoing import NotAnswered, Outgoing
from domain.webhooks import NotAPublicAddress


@dataclass(frozen=True)
class Sent:
    url: str
    headers: Mapping[str, str]
    body: bytes


class FakeOutgoing(Outgoing):
    """Keeps what was `sent` and answers `status`; None: there is no answer. Hosts in `private` are
    not public. A request to a host in `slow` waits for its event.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.status: int | None = 204
        self.private: set[str | None] = {"localhost"}
        self.slow: dict[str | None, asyncio.Event] = {}

    async def check_url(self, url: str) -> None:
        if urlsplit(url).hostname in self.private:
            raise NotAPublicAddress

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        if urlsplit(url).hostname in self.private:
            raise NotAnswered(NotAPublicAddress.detail)
        if wait := self.slow.get(urlsplit(url).hostname):
            await wait.wait()
        if self.status is None:
            raise NotAnswered("no answer in time")
        self.sent.append(Sent(url, headers, body))
        return self.status
