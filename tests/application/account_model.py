"""An account and its authenticator app, in any order of what can happen to it, beside a model."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application.challenges import Challenge, FactorKind
from application.factors import FactorService
from application.logins import ClientInfo, Login
from application.proofs import ProofService
from application.services import build_services
from domain.challenges import WrongSecondStep
from domain.errors import DomainError
from domain.factors import NoSecondFactor, StaleLogin, TotpExists, WrongCode
from domain.users import Role
from tests.factories import UserDraftFactory
from tests.fakes.ports import fake_ports

PASSWORDS = ("correct horse battery", "staple battery horse")
FRESH = timedelta(seconds=600)
SELDOM = st.sampled_from([False, False, False, True])
T = TypeVar("T")


class Account(RuleBasedStateMachine):
    """The model knows of the account: the app in force, codes left, what was used, and for each
    session when it proved what.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.ports = fake_ports()
        self.services = build_services(self.ports)
        self.secret: str | None = None
        self.pending: tuple[str, datetime] | None = None
        """A secret that was not confirmed, and when it was made."""
        self.confirmed_at: datetime | None = None
        self.since: datetime | None = None
        """Since when the account has a second factor, without interruption."""
        self.codes: list[str] = []
        self.void: list[str] = []
        self.last_step = 0
        self.password = PASSWORDS[0]
        self.sessions: list[Login] = []
        self.proofs: dict[int, tuple[datetime, datetime | None]] = {}
        """For each live session, its last proof and its last proof by a factor."""

    def teardown(self) -> None:
        self.loop.close()

    def run_(self, work: Coroutine[Any, Any, T]) -> T | type[DomainError]:
        try:
            return self.loop.run(work)
        except DomainError as error:
            return type(error)

    @property
    def now(self) -> datetime:
        return self.ports.clock.now

    def is_fresh(self, login: Login) -> bool:
        proved_at, factor_at = self.proofs[login.session.id]
        if self.since is not None:
            return (
                factor_at is not None and factor_at >= self.since and self.now - factor_at < FRESH
            )
        return self.now - proved_at < FRESH

    def current(self, index: int) -> Login:
        return self.sessions[index % len(self.sessions)]

    def context(self, index: int) -> tuple[Login, Any, Any]:
        """A session of the model, with user and session as a request would have them."""
        login = self.current(index)
        found = self.loop.run(self.ports.queries.session_user(login.session.id))
        assert found is not None
        session, user = found
        return login, user, session

    @initialize()
    def register(self) -> None:
        user = self.loop.run(
            self.services.accounts.register(UserDraftFactory.build(), self.password)
        )
        admin = self.loop.run(
            self.services.accounts.register(UserDraftFactory.build(), self.password, Role.ADMIN)
        )
        self.email, self.user_id, self.admin_email = user.email, user.id, admin.email
        self.log_in(wrong=False)

    @rule(seconds=st.sampled_from([0, 29, 30, 31, 300, 599, 600, 3000]))
    def wait(self, seconds: int) -> None:
        self.ports.clock.advance(timedelta(seconds=seconds))

    @rule(wrong=SELDOM)
    def log_in(self, wrong: bool) -> None:
        password = "wrong horse" if wrong else self.password
        result = self.run_(self.services.auth.login(self.email, password, ClientInfo()))
        if wrong:
            assert isinstance(result, type)
        elif self.since is None:
            assert isinstance(result, Login)
            self.sessions.append(result)
            self.proofs[result.session.id] = (self.now, None)
        else:
            assert isinstance(result, Challenge)
            self.challenge = result

    def answer(self, kind: str) -> tuple[str, bool]:
        """A code of this kind, and whether the model takes it. One that is right is then used."""
        if kind == "code" and self.secret:
            step = int(self.now.timestamp()) // 30
            is_right = step > self.last_step
            self.last_step = max(step, self.last_step)
            return self.ports.totp.code(self.secret, self.now), is_right
        if kind == "replay" and self.secret:
            at = datetime.fromtimestamp(self.last_step * 30, self.now.tzinfo)
            return self.ports.totp.code(self.secret, at), False
        if kind == "recovery" and self.codes:
            code = self.codes.pop()
            self.void.append(code)
            return code, True
        if kind == "void" and self.void:
            return self.void[-1], False
        return "000000" if kind in ("code", "replay") else "aaaa-bbbb-cccc-dddd", False

    @precondition(lambda self: self.since)
    @rule(kind=st.sampled_from(["code", "replay", "recovery", "void"]), waits=st.booleans())
    def log_in_with_a_factor(self, kind: str, waits: bool) -> None:
        self.log_in(wrong=False)
        self.ports.clock.advance(timedelta(seconds=299 if waits else 0))
        code, is_right = self.answer(kind)
        challenge = self.challenge
        result = self.run_(
            self.services.of(ProofService).second_step(
                challenge.token, FactorKind.CODE, code, ClientInfo()
            )
        )
        if is_right:
            assert isinstance(result, Login)
            self.sessions.append(result)
            self.proofs[result.session.id] = (self.now, self.now)
        else:
            assert result is WrongSecondStep

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9), kind=st.sampled_from(["password", "code", "replay", "recovery"]))
    def prove(self, index: int, kind: str) -> None:
        login, user, session = self.context(index)
        proofs = self.services.of(ProofService)
        if kind == "password":
            work = proofs.prove_password(user, session, self.password, ip=None)
            assert self.run_(work) is None
            self.proofs[login.session.id] = (self.now, self.proofs[login.session.id][1])
            return
        code, is_right = self.answer(kind)
        result = self.run_(proofs.prove_factor(user, session, FactorKind.CODE, code, ip=None))
        assert result is (None if is_right else WrongCode)
        if is_right:
            self.proofs[login.session.id] = (self.now, self.now)

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9), left=SELDOM)
    def start_an_app(self, index: int, left: bool) -> None:
        login, user, session = self.context(index)
        result = self.run_(self.services.of(FactorService).start_totp(user, session))
        if not self.is_fresh(login):
            assert result is StaleLogin
        elif self.secret:
            assert result is TotpExists
        else:
            assert not isinstance(result, type)
            self.pending = (result.secret, self.now)
            if not left:
                self.confirm_the_app(index, wrong=False)

    @precondition(lambda self: self.sessions and self.pending)
    @rule(index=st.integers(0, 9), wrong=SELDOM)
    def confirm_the_app(self, index: int, wrong: bool) -> None:
        _, user, _ = self.context(index)
        assert self.pending
        secret, started_at = self.pending
        code = "000000" if wrong else self.ports.totp.code(secret, self.now)
        result = self.run_(self.services.of(FactorService).confirm_totp(user, code))
        if wrong or (self.since is not None and started_at < self.since):
            assert result is WrongCode
            return
        assert isinstance(result, list)
        self.secret, self.pending, self.confirmed_at = secret, None, self.now
        self.since = self.since or self.now
        self.void += self.codes
        self.codes = list(result)
        self.last_step = int(self.now.timestamp()) // 30

    @precondition(lambda self: self.sessions)
    @rule(index=st.integers(0, 9))
    def make_recovery_codes(self, index: int) -> None:
        login, user, session = self.context(index)
        result = self.run_(self.services.of(FactorService).new_recovery_codes(user, session))
        if not self.is_fresh(login):
            assert result is StaleLogin
        elif self.since is None:
            assert result is NoSecondFactor
        else:
            assert isinstance(result, list)
            self.void += self.codes
            self.codes = list(result)

    @precondition(lambda self: self.sessions and (self.secret or self.pending))
    @rule(index=st.integers(0, 9))
    def remove_the_app(self, index: int) -> None:
        login, user, session = self.context(index)
        result = self.run_(self.services.of(FactorService).remove_totp(user, session))
        if not self.is_fresh(login):
            assert result is StaleLogin
            return
        assert result is None
        had_app = self.secret is not None
        self.secret = self.pending = self.confirmed_at = None
        if had_app:
            self.settle()

    # What ends everything is rare, or else nothing has time to happen before it.
    @precondition(lambda self: self.since and len(self.sessions) > 3)
    @rule()
    def an_admin_removes_the_factors(self) -> None:
        login = self.loop.run(
            self.services.auth.login(self.admin_email, PASSWORDS[0], ClientInfo())
        )
        assert isinstance(login, Login)
        work = self.services.of(FactorService).remove_all(login.user, login.session, self.user_id)
        assert self.run_(work) is None
        self.forget_factors()
        self.settle()
        self.forget_sessions()

    @precondition(lambda self: len(self.sessions) > 3)
    @rule()
    def the_operator_resets_the_password(self) -> None:
        self.password = PASSWORDS[self.password == PASSWORDS[0]]
        work = self.services.administration.make_admin(
            self.email, unverified=True, password=self.password
        )
        assert not isinstance(self.run_(work), type)
        self.forget_sessions()

    def forget_factors(self) -> None:
        self.secret = self.pending = self.confirmed_at = None

    def has_factor(self) -> bool:
        return self.secret is not None

    def settle(self) -> None:
        """With the last factor the recovery codes go."""
        if not self.has_factor():
            self.since = None
            self.codes, self.void = [], []

    def forget_sessions(self) -> None:
        self.sessions, self.proofs = [], {}

    @invariant()
    def the_account_is_as_the_model_says(self) -> None:
        if not hasattr(self, "user_id"):
            return
        user = self.loop.run(self.services.accounts.user(self.user_id))
        assert user.second_factor_since == self.since
        status = self.loop.run(self.services.of(FactorService).status(user))
        assert status.totp_confirmed_at == self.confirmed_at
        assert status.recovery_codes_left == len(self.codes)
        live = {session.id for session in self.loop.run(self.services.auth.sessions(user))}
        assert live == {login.session.id for login in self.sessions}
