"""An authenticator app, and logins that need one."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pyotp

from tests.api.client import PASSWORD, ApiClient, Person, problem_of

STEP = timedelta(seconds=30)


@dataclass(kw_only=True)
class Authenticator:
    api: ApiClient
    secret: str = field(repr=False)
    recovery_codes: list[str] = field(default_factory=list, repr=False)

    def code(self) -> str:
        """A code that was not used before: it puts the clock forward to the next step."""
        self.api.clock.ahead += STEP
        return pyotp.TOTP(self.secret).at(self.api.clock())


async def start(api: ApiClient, person: Person) -> Authenticator:
    answer = await api.client.post("/users/me/totp", headers=person.headers)
    assert answer.status_code == 201, answer.text
    return Authenticator(api=api, secret=answer.json()["secret"])


async def enrol(api: ApiClient, person: Person) -> Authenticator:
    """The app of a person, confirmed. The person's session is not fresh afterwards."""
    app = await start(api, person)
    answer = await api.client.put(
        "/users/me/totp", json={"code": app.code()}, headers=person.headers
    )
    assert answer.status_code == 200, answer.text
    app.recovery_codes = answer.json()["recovery_codes"]
    return app


async def prove(api: ApiClient, person: Person, **proof: str) -> httpx.Response:
    return await api.client.post("/sessions/current/proof", json=proof, headers=person.headers)


async def challenge_of(api: ApiClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """The answer to a right password, on an account with a second factor."""
    answer = await api.log_in(email, password)
    assert answer.status_code == 401, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == "second_factor_required"
    return problem


async def second_step(api: ApiClient, challenge: str, code: str) -> httpx.Response:
    return await api.client.post(
        "/login/second-factor", json={"challenge": challenge, "code": code}
    )


async def log_in(api: ApiClient, person: Person, app: Authenticator) -> Person:
    """The person with a session that has passed both steps."""
    challenge = (await challenge_of(api, person.email))["challenge"]
    answer = await second_step(api, challenge, app.code())
    assert answer.status_code == 200, answer.text
    return Person(
        id=person.id,
        email=person.email,
        name=person.name,
        token=answer.json()["access_token"],
        refresh_token=answer.json()["refresh_token"],
    )


def assert_wrong(answer: httpx.Response) -> None:
    """The one answer to every second step that fails."""
    problem = problem_of(answer, 401, "wrong_code")
    assert problem["detail"] == (
        "The code or the challenge is wrong, was used before or has expired"
    )
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def assert_stale(answer: httpx.Response) -> None:
    problem_of(answer, 401, "stale_login")
