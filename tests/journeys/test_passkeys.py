"""Passkeys in a real Chromium with its virtual authenticators, on a page of another origin."""

from asyncio import StreamReader, StreamWriter, start_server
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import CDPSession, Page

from tests.journeys.processes import Place, Service
from tests.journeys.test_docs_page import browser_page

PAGE = """<!doctype html><title>Passkeys</title><script>
async function call(method, path, body, token) {
  const headers = {"Content-Type": "application/json"};
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(api + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  return {status: answer.status, body: text ? JSON.parse(text) : null};
}
async function enrol(name, token) {
  const options = (await call("POST", "/users/me/passkeys/options", undefined, token)).body;
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  let credential;
  try { credential = await navigator.credentials.create({publicKey}); }
  catch (error) { return {error: error.name}; }
  return call("POST", "/users/me/passkeys", {name, credential: credential.toJSON()}, token);
}
async function login() {
  const options = (await call("POST", "/login/passkey/options")).body;
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  let credential;
  try { credential = await navigator.credentials.get({publicKey}); }
  catch (error) { return {error: error.name}; }
  return call("POST", "/login/passkey", {credential: credential.toJSON()});
}
</script>"""


AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""A virtual authenticator of Chromium that verifies its user."""


@asynccontextmanager
async def page_server() -> AsyncIterator[tuple[str, list[str]]]:
    """Serves the page; its origin, and the address of the service, to be put in."""
    api: list[str] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"<script>const api = {api[0]!r};</script>{PAGE}".encode()
        head = f"Content-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://localhost:{port}", api


@pytest.fixture
async def site(place: Place) -> AsyncIterator["Site"]:
    async with page_server() as (origin, api):
        place.settings |= {"PUBLIC_URL": origin, "CORS_ORIGINS": origin}
        with place.serving() as service:
            api.append(service.url)
            async with browser_page() as page:
                await page.goto(f"{origin}/")
                devtools = await page.context.new_cdp_session(page)
                await devtools.send("WebAuthn.enable")
                yield Site(service, page, devtools)


class Site:
    def __init__(self, service: Service, page: Page, devtools: CDPSession) -> None:
        self._service = service
        self._page = page
        self._devtools = devtools

    async def authenticator(self, transport: str = "internal") -> str:
        """The id of a new virtual authenticator that verifies its user."""
        options = AUTHENTICATOR | {"transport": transport}
        added = await self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return str(added["authenticatorId"])

    async def command(self, name: str, authenticator: str, **options: Any) -> None:
        await self._devtools.send(f"WebAuthn.{name}", {"authenticatorId": authenticator, **options})

    async def registered(self) -> str:
        """The access token of a new user."""
        form = {"username": f"{uuid4().hex}@example.org", "password": f"p {uuid4()}"}
        async with self._service.async_client() as client:
            draft = {"email": form["username"], "password": form["password"]}
            assert (await client.post("/users", json=draft)).status_code == 201
            return str((await client.post("/login", data=form)).json()["access_token"])

    async def enrol(self, name: str, token: str) -> dict[str, Any]:
        return await self._run(f"enrol({name!r}, {token!r})")

    async def log_in(self) -> dict[str, Any]:
        return await self._run("login()")

    async def call(self, method: str, path: str, token: str) -> dict[str, Any]:
        return await self._run(f"call({method!r}, {path!r}, undefined, {token!r})")

    async def _run(self, script: str) -> dict[str, Any]:
        result: dict[str, Any] = await self._page.evaluate(script)
        return result


async def test_a_passkey_from_its_enrolment_to_its_deletion(site: Site) -> None:
    phone = await site.authenticator()
    token = await site.registered()

    added = await site.enrol("Phone", token)
    login = await site.log_in()

    assert (added["status"], added["body"]["name"]) == (201, "Phone")
    assert login["status"] == 200
    by_passkey = login["body"]["access_token"]
    me = await site.call("GET", "/users/me", by_passkey)
    assert me == await site.call("GET", "/users/me", token)

    # The same authenticator makes no second passkey; another one does, and logs in alone.
    assert await site.enrol("Phone again", by_passkey) == {"error": "InvalidStateError"}
    await site.command("setAutomaticPresenceSimulation", phone, enabled=False)
    key = await site.authenticator("usb")
    assert (await site.enrol("Key", by_passkey))["status"] == 201
    assert (await site.log_in())["status"] == 200
    passkeys = (await site.call("GET", "/users/me/passkeys", by_passkey))["body"]
    assert [each["name"] for each in passkeys] == ["Phone", "Key"]
    assert all(each["last_used_at"] for each in passkeys)

    for each in passkeys:
        gone = await site.call("DELETE", f"/users/me/passkeys/{each['id']}", by_passkey)
        assert gone["status"] == 204
    refused = await site.log_in()
    assert (refused["status"], refused["body"]["code"]) == (401, "invalid_credentials")
    await site.command("removeVirtualAuthenticator", key)


async def test_a_bogus_signature_and_a_user_who_was_not_verified_are_refused(site: Site) -> None:
    phone = await site.authenticator()
    token = await site.registered()
    await site.command("setResponseOverrideBits", phone, isBadUV=True)
    refused = await site.enrol("Phone", token)
    assert (refused["status"], refused["body"]["code"]) == (422, "bad_passkey")
    await site.command("clearCredentials", phone)
    await site.command("setResponseOverrideBits", phone, isBadUV=False)
    assert (await site.enrol("Phone", token))["status"] == 201

    for flaw in ("isBogusSignature", "isBadUV", "isBadUP"):
        await site.command("setResponseOverrideBits", phone, **{flaw: True})
        refused = await site.log_in()
        assert (refused["status"], refused["body"]["code"]) == (401, "invalid_credentials"), flaw
        await site.command("setResponseOverrideBits", phone, **{flaw: False})

    assert (await site.log_in())["status"] == 200


async def test_a_browser_logs_in_whichever_account_the_passkey_is_of(site: Site) -> None:
    anna = await site.registered()
    phone = await site.authenticator()
    assert (await site.enrol("Anna's", anna))["status"] == 201
    hers = await site.call("GET", "/users/me", (await site.log_in())["body"]["access_token"])
    await site.command("setAutomaticPresenceSimulation", phone, enabled=False)
    bert = await site.registered()
    await site.authenticator("usb")
    assert (await site.enrol("Bert's", bert))["status"] == 201
    his = await site.call("GET", "/users/me", (await site.log_in())["body"]["access_token"])

    assert hers == await site.call("GET", "/users/me", anna)
    assert his == await site.call("GET", "/users/me", bert)
