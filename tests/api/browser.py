"""A browser without scripts, on the console's pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from fastapi import FastAPI

from tests.api.client import PASSWORD, URL

SAME = {"Sec-Fetch-Site": "same-origin"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;{{7*7}}"


@dataclass
class Browser:
    client: httpx.AsyncClient

    async def see(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=SAME)

    async def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.send("/console/login", username=email, password=password)


@asynccontextmanager
async def browser_of(app: FastAPI) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        client.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0"
        yield Browser(client)


def leads_to(answer: httpx.Response, path: str) -> None:
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].partition("?")[0] == path, answer.headers["Location"]
