"""No secret in any log: what the tests of this process keep secret, and what is logged meanwhile.

Secrets are gathered where they come by: from requests and their answers, settings, files, mails.
Logs are what services write to stderr, and in this process what they log, before anything is
redacted there: that is a net which nothing may count on.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

if TYPE_CHECKING:  # the tests of the rules need no HTTP
    import httpx

_SHORTEST = 7
"""Characters: what is shorter stands in log lines by chance."""
_LETTERS = 5
"""Different ones: "xxxxxxx" stands in them as well."""
_TOKEN_MIN = 20
"""What tests call a token and is shorter, is none."""
_CODE = re.compile(r"^[\w-]{43}$", re.MULTILINE)
_MAIL = re.compile(r"\nTo: .+\nSubject: .+\n\n(?s:.+?)If it was not you, .+\n\n")
"""As `ConsoleMailer` prints it, token and all, which is what it is there for."""
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}
"""Of a JSON Web Key (RFC 7518, section 6)."""


_OF_PASSKEYS = {"clientDataJSON", "attestationObject", "authenticatorData", "signature"}
"""Members of requests (Web Authentication Level 3, section 5.1.8)."""


class Secrecy(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._secrets: set[str] = set()
        self._lines: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter().format(record)  # with the traceback
        self.logged(f"{text} {getattr(record, 'fields', '')}")

    def logged(self, text: str) -> None:
        self._lines.update(text.splitlines())

    def note(self, method: str, path: str, **fields: object) -> None:
        """An access log."""
        self.logged(f"{method} {path} {fields}")

    def printed(self, text: str) -> None:
        """What a service wrote to stdout, of which mails are no log."""
        self.logged(_MAIL.sub("\n", text))

    def keep(self, secret: str) -> None:
        if len(secret) >= _SHORTEST and len(set(secret)) >= _LETTERS:
            forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
            self._secrets |= forms | {json.dumps(secret)[1:-1], repr(secret)[1:-1]}

    def keep_codes(self, mail: str) -> None:
        for code in _CODE.findall(mail.replace("\r\n", "\n")):
            self.keep(code)

    def keep_settings(self, environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            if name.endswith(("SECRET_KEY", "PEPPER", "METRICS_TOKEN")):
                for part in value.split(","):
                    self.keep(part)
            elif name.endswith("_URL"):
                password = re.search(r"://[^/@]*?:([^/@]+)@", value)
                self.keep(unquote(password[1]) if password else "")

    def keep_files(self, directory: Path) -> None:
        """What `gatepost` has made in its directory."""
        for file in directory.glob("*.secret"):
            self.keep(file.read_text().strip())
        for file in directory.glob("keys*.json"):
            for key in json.loads(file.read_text())["keys"]:
                for name in _PRIVATE & set(key):
                    self.keep(key[name])

    def sent(self, request: httpx.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and len(token) >= _TOKEN_MIN:
            self.keep(token)
        for name, value in _members(request):
            is_token = name.endswith(("token", "challenge")) and len(value) >= _TOKEN_MIN
            if name in _OF_PASSKEYS:
                self.keep(value)
            if is_token or (name == "code" and len(value) >= _SHORTEST):
                self.keep(value)  # codes of apps are too short to be told from other numbers

    def answered(self, response: httpx.Response) -> None:
        """Passwords count once they are somebody's: what is refused may be any word."""
        if response.is_success:
            for name, value in _members(response.request):
                if name.endswith("password"):
                    self.keep(value)
        for cookie in response.headers.get_list("set-cookie"):
            self.keep(cookie.partition("=")[2].partition(";")[0])
        if response.headers.get("Content-Type", "").startswith("application/"):
            for name, value in _strings(response.read()):
                if name in _SHOWN_ONCE:
                    self.keep(value)

    async def sent_async(self, request: httpx.Request) -> None:
        self.sent(request)

    async def answered_async(self, response: httpx.Response) -> None:
        await response.aread()
        self.answered(response)

    def leaks(self) -> list[str]:
        """The lines that have a secret in them."""
        starts: dict[str, set[str]] = defaultdict(set)
        for secret in self._secrets:
            starts[secret[:_SHORTEST]].add(secret)
        return [line for line in self._lines if _has_any(line, starts)]


SECRECY = Secrecy()
"""Of this process, from the first test to the last."""

_Hooks = dict[str, list[Callable[..., Any]]]
HOOKS: _Hooks = {"request": [SECRECY.sent], "response": [SECRECY.answered]}
ASYNC_HOOKS: _Hooks = {"request": [SECRECY.sent_async], "response": [SECRECY.answered_async]}
"""For clients of the service."""


def _has_any(line: str, starts: Mapping[str, set[str]]) -> bool:
    # The log has megabytes and there are thousands of secrets: each place is looked at once.
    return any(
        line.startswith(secret, place)
        for place in range(len(line) - _SHORTEST + 1)
        for secret in starts.get(line[place : place + _SHORTEST], ())
    )


def _members(request: httpx.Request) -> Iterator[tuple[str, str]]:
    """Of a form or of JSON."""
    try:
        content = request.content
    except RuntimeError:  # of a body that is not read
        return
    if request.headers.get("Content-Type") == "application/x-www-form-urlencoded":
        yield from parse_qsl(content.decode(errors="replace"))
    elif request.headers.get("Content-Type") == "application/json":
        yield from _strings(content)


_SHOWN_ONCE = {"access_token", "refresh_token", "challenge"}
_SHOWN_ONCE |= {"secret", "otpauth_uri", "recovery_codes"}
"""Members of answers. Each member of a list counts."""


def _strings(content: bytes) -> Iterator[tuple[str, str]]:
    """The texts in JSON, each with the name of the member that has it, however deep."""
    try:
        yield from _named("", json.loads(content))
    except (ValueError, RecursionError):
        return


def _named(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for member, held in value.items():
            yield from _named(member, held)
    elif isinstance(value, list):
        for held in value:
            yield from _named(name, held)
