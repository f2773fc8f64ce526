from dataclasses import dataclass, field

from application.services import Ports
from tests.fakes.clock import FakeClock
from tests.fakes.limits import FakeLimits
from tests.fakes.mail import FakeMailer
from tests.fakes.outgoing import FakeOutgoing
from tests.fakes.passkeys import FakePasskeys
from tests.fakes.passwords import FakePasswords
from tests.fakes.queries import FakeQueries
from tests.fakes.sealer import FakeSealer
from tests.fakes.storage import FakeStorage
from tests.fakes.tokens import FakeTokens
from tests.fakes.totp import FakeTotpCodes


@dataclass(frozen=True, kw_only=True)
class FakePorts(Ports):
    """`Ports` as tests need them: all fakes, and known to be."""

    queries: FakeQueries
    storage: FakeStorage
    tokens: FakeTokens = field(default_factory=FakeTokens)
    passwords: FakePasswords = field(default_factory=FakePasswords)
    limits: FakeLimits = field(default_factory=FakeLimits)
    mailer: FakeMailer = field(default_factory=FakeMailer)
    outgoing: FakeOutgoing = field(default_factory=FakeOutgoing)
    sealer: FakeSealer = field(default_factory=FakeSealer)
    totp: FakeTotpCodes = field(default_factory=FakeTotpCodes)
    clock: FakeClock = field(default_factory=FakeClock)
    passkeys: FakePasskeys = field(default_factory=FakePasskeys)


def fake_ports() -> FakePorts:
    storage = FakeStorage()
    return FakePorts(queries=FakeQueries(storage), storage=storage)
