"""An account with second factors of all kinds, in any order of what can happen to it."""

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from application.challenges import Challenge, FactorKind
from application.logins import ClientInfo, Login
from application.passkeys import PasskeyService
from application.proofs import ProofService
from domain.challenges import WrongSecondStep
from domain.factors import StaleLogin
from domain.passkeys import Assertion, BadPasskey, Passkey, PasskeyNotFound
from domain.sessions import InvalidCredentials
from tests.application.account_model import SELDOM, Account
from tests.authenticator import Flaws, SoftwareAuthenticator

FLAWS = {
    "none": Flaws(),
    "signature": Flaws(signature=b"bogus"),
    "unverified": Flaws(is_verified=False),
    "handle": Flaws(user_handle=b"another"),
    "counter": Flaws(sign_count=0),
}
"""How an authenticator answers. The counter is one that a use has already had."""
ANSWERS = st.sampled_from(["none"] * len(FLAWS) + list(FLAWS))


class AccountWithPasskeys(Account):
    """The model knows of passkeys: which are in force, which were deleted, and their counters."""

    def __init__(self) -> None:
        super().__init__()
        self.phones: dict[int, SoftwareAuthenticator] = {}
        self.counts: dict[int, int] = {}
        self.gone: list[tuple[int, SoftwareAuthenticator]] = []

    @property
    def passkeys(self) -> PasskeyService:
        return self.services.of(PasskeyService)

    def has_factor(self) -> bool:
        return super().has_factor() or bool(self.phones)

    def forget_factors(self) -> None:
        super().forget_factors()
        self.gone += self.phones.items()
        self.phones, self.counts = {}, {}

    @precondition(lambda self: self.sessions)
    @rule(
        index=st.integers(0, 9),
        seconds=st.sampled_from([0, 0, 1, 299, 300]),
        flawed=SELDOM,
    )
    def enrol(self, index: int, seconds: int, flawed: bool) -> None:
        login, user, session = self.context(index)
        options: Any = self.run_(self.passkeys.enrolment_options(user, session))
        if not self.is_fresh(login):
            assert options is StaleLogin
            return
        phone = SoftwareAuthenticator()
        attestation = phone.create(options, Flaws(is_verified=not flawed))
        self.ports.clock.advance(timedelta(seconds=seconds))
        result = self.run_(self.passkeys.enrol(user, session, "Phone", attestation))
        if not self.is_fresh(login):
            assert result is StaleLogin
        elif flawed or seconds >= 300:
            assert result is BadPasskey
        else:
            assert isinstance(result, Passkey)
            self.phones[result.id], self.counts[result.id] = phone, 0
            self.since = self.since or self.now

    def assertion(self, index: int, flaw: str) -> tuple[Assertion, int | None]:
        """The answer of an authenticator, whose passkey may be deleted, to new options; and the
        passkey, if the model takes it.
        """
        known = [*self.phones.items(), *self.gone]
        passkey_id, phone = known[index % len(known)]
        options: Any = self.run_(self.passkeys.login_options())
        flaws = FLAWS[flaw]
        if flaw == "counter":
            flaws = Flaws(sign_count=self.counts.get(passkey_id, 0))
        assertion = phone.get(options, flaws)
        # Until there was a use, 0 is a counter that an authenticator without one would have.
        is_right = flaw == "none" or (flaw == "counter" and not self.counts.get(passkey_id))
        return assertion, passkey_id if is_right and passkey_id in self.phones else None

    def note_use(self, passkey_id: int, flaw: str) -> None:
        if flaw == "none":
            self.counts[passkey_id] = self.phones[passkey_id].sign_count

    @precondition(lambda self: self.phones or self.gone)
    @rule(index=st.integers(0, 9), flaw=ANSWERS)
    def log_in_by_passkey(self, index: int, flaw: str) -> None:
        assertion, passkey_id = self.assertion(index, flaw)
        result = self.run_(self.passkeys.login(assertion, ClientInfo()))
        if passkey_id is None:
            assert result is InvalidCredentials
        else:
            assert isinstance(result, Login)
            self.note_use(passkey_id, flaw)
            self.sessions.append(result)
            self.proofs[result.session.id] = (self.now, self.now)
        # The same answer again, and if there was a use one with the counter of that use.
        assert self.run_(self.passkeys.login(assertion, ClientInfo())) is InvalidCredentials
        if self.counts.get(passkey_id or 0):
            copied, _ = self.assertion(index, "counter")
            assert self.run_(self.passkeys.login(copied, ClientInfo())) is InvalidCredentials

    @precondition(lambda self: self.since and (self.phones or self.gone))
    @rule(index=st.integers(0, 9), flaw=ANSWERS)
    def log_in_with_a_passkey_after_the_password(self, index: int, flaw: str) -> None:
        self.log_in(wrong=False)
        assert isinstance(self.challenge, Challenge)
        assert ("passkey" in self.challenge.methods) is bool(self.phones)
        assertion, passkey_id = self.assertion(index, flaw)
        work = self.services.of(ProofService).second_step(
            self.challenge.token, FactorKind.CREDENTIAL, assertion, ClientInfo()
        )
        result = self.run_(work)
        if passkey_id is None:
            assert result is WrongSecondStep
            return
        assert isinstance(result, Login)
        self.note_use(passkey_id, flaw)
        self.sessions.append(result)
        self.proofs[result.session.id] = (self.now, self.now)

    @precondition(lambda self: self.sessions and (self.phones or self.gone))
    @rule(at=st.integers(0, 9), index=st.integers(0, 9), flaw=ANSWERS)
    def prove_by_passkey(self, at: int, index: int, flaw: str) -> None:
        login, user, session = self.context(at)
        assertion, passkey_id = self.assertion(index, flaw)
        proofs = self.services.of(ProofService)
        work = proofs.prove_factor(user, session, FactorKind.CREDENTIAL, assertion, ip=None)
        result = self.run_(work)
        if passkey_id is None:
            assert result is BadPasskey
            return
        assert result is None
        self.note_use(passkey_id, flaw)
        self.proofs[login.session.id] = (self.now, self.now)

    @precondition(lambda self: self.sessions and (self.phones or self.gone))
    @rule(at=st.integers(0, 9), index=st.integers(0, 9))
    def delete_a_passkey(self, at: int, index: int) -> None:
        login, user, session = self.context(at)
        known: list[Any] = [*self.phones.items(), *self.gone]
        passkey_id, phone = known[index % len(known)]
        result = self.run_(self.passkeys.remove(user, session, passkey_id))
        if not self.is_fresh(login):
            assert result is StaleLogin
        elif passkey_id not in self.phones:
            assert result is PasskeyNotFound
        else:
            assert result is None
            del self.phones[passkey_id], self.counts[passkey_id]
            self.gone.append((passkey_id, phone))
            self.settle()

    @invariant()
    def the_passkeys_are_those_of_the_model(self) -> None:
        if not hasattr(self, "user_id"):
            return
        user = self.loop.run(self.services.accounts.user(self.user_id))
        stored = self.loop.run(self.passkeys.passkeys(user))
        assert {each.id: each.state.sign_count for each in stored} == self.counts


TestAccount = AccountWithPasskeys.TestCase
TestAccount.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
