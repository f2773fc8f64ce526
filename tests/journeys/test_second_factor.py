"""Second factors of the started service, with an authenticator app on the real clock."""

import time
from typing import Any

import httpx
import pyotp
import pytest

from tests.journeys.processes import Service

PASSWORD = "correct horse battery"
EMAIL = "anna@example.com"


def log_in(client: httpx.Client) -> httpx.Response:
    return client.post("/login", data={"username": EMAIL, "password": PASSWORD})


def second_step(client: httpx.Client, code: str) -> httpx.Response:
    """Log in by the password, and finish by `code`."""
    answer = log_in(client)
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] == "second_factor_required"
    body = {"challenge": answer.json()["challenge"], "code": code}
    return client.post("/login/second-factor", json=body)


def bearer(login: httpx.Response) -> dict[str, str]:
    assert login.status_code == 200, login.text
    return {"Authorization": f"Bearer {login.json()['access_token']}"}


def enrol(client: httpx.Client, headers: dict[str, str]) -> tuple[pyotp.TOTP, list[str]]:
    """An app, confirmed by the code of the step before, and recovery codes. The current step's code
    is not used up.
    """
    answer = client.post("/users/me/totp", headers=headers)
    assert answer.status_code == 201, answer.text
    app = pyotp.TOTP(answer.json()["secret"])
    for _ in range(2):  # the step may end between two lines
        body = {"code": app.at(int(time.time()) - 30)}
        answer = client.put("/users/me/totp", json=body, headers=headers)
        if answer.status_code == 200:
            return app, answer.json()["recovery_codes"]
    pytest.fail(answer.text)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_login_needs_the_app_or_a_recovery_code_from_the_enrolment_on(service: Service) -> None:
    with service.client() as client:
        registration: dict[str, Any] = {"email": EMAIL, "password": PASSWORD}
        assert client.post("/users", json=registration).status_code == 201
        first = bearer(log_in(client))
        app, recovery_codes = enrol(client, first)

        wrong = second_step(client, "000000" if app.now() != "000000" else "000001")
        assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_code")
        code = app.now()
        own = bearer(second_step(client, code))
        assert client.get("/users/me", headers=own).json()["second_factor"] is True
        assert second_step(client, code).status_code == 401  # it was used

        recovered = bearer(second_step(client, recovery_codes[0]))
        assert second_step(client, recovery_codes[0]).status_code == 401
        factors = client.get("/users/me/factors", headers=recovered).json()
        assert factors["recovery_codes_left"] == len(recovery_codes) - 1
        # The session from before the enrolment goes on, and removes no factor.
        assert client.delete("/users/me/totp", headers=first).json()["code"] == "stale_login"
        assert client.delete("/users/me/totp", headers=recovered).status_code == 204
        assert log_in(client).status_code == 200

    log = service.log.read_text()
    assert not [secret for secret in (app.secret, code, *recovery_codes) if secret in log]
