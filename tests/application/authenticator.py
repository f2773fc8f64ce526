"""An authenticator app on the fakes."""

from dataclasses import dataclass, field
from datetime import timedelta

from application.challenges import Challenge, FactorKind
from application.factors import FactorService
from application.logins import ClientInfo, Login
from application.proofs import ProofService
from application.services import Services
from domain.sessions import Session
from domain.users import User
from tests.fakes.ports import FakePorts

STEP = timedelta(seconds=30)
EMAIL = "anna@example.com"
PASSWORD = "correct horse battery"


@dataclass(kw_only=True)
class Authenticator:
    ports: FakePorts
    secret: str
    recovery_codes: list[str] = field(default_factory=list)

    def code(self) -> str:
        """A code that was not used before: it puts the clock forward to the next step."""
        self.ports.clock.advance(STEP)
        return self.ports.totp.code(self.secret, self.ports.clock())


async def enrol(
    ports: FakePorts, services: Services, user: User, session: Session
) -> Authenticator:
    factors = services.of(FactorService)
    app = Authenticator(ports=ports, secret=(await factors.start_totp(user, session)).secret)
    app.recovery_codes = await factors.confirm_totp(user, app.code())
    return app


async def challenge_of(services: Services, user: User, password: str = PASSWORD) -> Challenge:
    challenge = await services.auth.login(user.email, password, ClientInfo())
    assert isinstance(challenge, Challenge)
    return challenge


async def second_step(services: Services, challenge: Challenge, code: str) -> Login:
    return await services.of(ProofService).second_step(
        challenge.token, FactorKind.CODE, code, ClientInfo()
    )
