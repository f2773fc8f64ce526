"""The ports that the application needs, and the services that it offers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from application.accounts import AccountService
from application.administration import AdministrationService
from application.auth import AuthService
from application.challenges import LoginChallenges, factors_of
from application.login_failures import LoginFailures
from application.logins import Logins
from application.mail import MailService, Site
from application.one_time_codes import OneTimeCodeService
from application.passwords import PasswordCheck
from application.personal_tokens import PersonalTokenService
from application.ports.adapter import Adapter
from application.ports.clock import Clock
from application.ports.limits import Limits
from application.ports.mail import Mailer
from application.ports.outgoing import Outgoing
from application.ports.passkeys import Passkeys
from application.ports.passwords import Passwords
from application.ports.queries import (
    PostQueries,  # posts only
    Queries,
)
from application.ports.sealer import Sealer
from application.ports.storage import Storage
from application.ports.tokens import Tokens
from application.ports.totp import TotpCodes
from application.posts import PostService  # posts only
from application.security_events import RecordedLimits, SecurityEvents
from application.votes import VoteService  # posts only
from domain.factors import FactorPolicy
from domain.passwords import PasswordPolicy
from domain.posts import DEFAULT_OPTIONS, PostOptions  # posts only
from domain.registrations import RegistrationMode
from domain.sessions import Lifetimes

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Everything that the services need: all adapters, and the configurable business rules."""

    queries: Queries
    storage: Storage
    tokens: Tokens
    passwords: Passwords
    limits: Limits
    mailer: Mailer
    outgoing: Outgoing
    sealer: Sealer
    totp: TotpCodes
    clock: Clock
    passkeys: Passkeys | None = None
    """None: there is no relying party, and nobody has passkeys."""
    replica: PostQueries | None = None  # posts only
    """Where posts are shown from; None: from `queries`. It is never used for decisions."""
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    public_url: str | None = None
    """The site that mails link to."""
    console: str | None = None
    """Path of the console, which takes the codes in mails; None: the site has pages of its own."""
    notices: bool = True
    """Whether users get a mail about changes to their account (`application.notices`)."""
    registration: RegistrationMode = RegistrationMode.OPEN
    """Who can register, and what others learn from it."""
    password_policy: PasswordPolicy = field(default_factory=PasswordPolicy)
    post_options: PostOptions = DEFAULT_OPTIONS  # posts only
    factor_policy: FactorPolicy = field(default_factory=FactorPolicy)

    @property
    def has_passkeys(self) -> bool:
        return self.passkeys is not None and self.factor_policy.is_on

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        always = (
            self.tokens,
            self.passwords,
            self.limits,
            self.mailer,
            self.outgoing,
            self.sealer,
            self.totp,
        )
        return always if self.passkeys is None else (*always, self.passkeys)


@dataclass(frozen=True, kw_only=True)
class Services:
    """The use cases: one service for each concept."""

    ports: Ports
    auth: AuthService
    accounts: AccountService
    administration: AdministrationService
    codes: OneTimeCodeService
    mail: MailService
    personal_tokens: PersonalTokenService
    posts: PostService  # posts only
    votes: VoteService  # posts only
    limits: Limits
    """For what is limited by where a request comes from, and from whom."""

    def of(self, service: Callable[[Ports], S]) -> S:
        """A service that is made from the ports and has no attribute here."""
        return service(self.ports)


def build_services(ports: Ports) -> Services:
    events = SecurityEvents(limits=ports.limits, storage=ports.storage, clock=ports.clock)
    limits = RecordedLimits(ports.limits, events)
    passwords = PasswordCheck(
        passwords=ports.passwords,
        queries=ports.queries,
        failures=LoginFailures(queries=ports.queries, limits=limits, events=events),
        policy=ports.password_policy,
    )
    mail = MailService(
        queries=ports.queries,
        storage=ports.storage,
        mailer=ports.mailer,
        clock=ports.clock,
        site=Site(ports.public_url, ports.console),
        notices=ports.notices,
    )
    auth = AuthService(
        queries=ports.queries,
        storage=ports.storage,
        logins=Logins(tokens=ports.tokens, clock=ports.clock, lifetimes=ports.lifetimes),
        challenges=LoginChallenges(factors_of(ports) if ports.factor_policy.is_on else ()),
        passwords=passwords,
        clock=ports.clock,
    )
    personal_tokens = PersonalTokenService(
        queries=ports.queries,
        storage=ports.storage,
        clock=ports.clock,
        factor_policy=ports.factor_policy,
        uses=auth.uses,
    )
    return Services(
        ports=replace(ports, limits=limits),
        auth=auth,
        accounts=AccountService(
            queries=ports.queries,
            storage=ports.storage,
            passwords=passwords,
            clock=ports.clock,
            tells_taken=ports.registration is RegistrationMode.OPEN,
        ),
        administration=AdministrationService(
            queries=ports.queries,
            storage=ports.storage,
            passwords=passwords,
            clock=ports.clock,
        ),
        codes=OneTimeCodeService(
            queries=ports.queries,
            storage=ports.storage,
            passwords=passwords,
            clock=ports.clock,
        ),
        mail=mail,
        personal_tokens=personal_tokens,
        posts=PostService(  # posts only
            queries=ports.replica or ports.queries,
            storage=ports.storage,
            clock=ports.clock,
            options=ports.post_options,
        ),
        votes=VoteService(  # posts only
            queries=ports.queries, storage=ports.storage, clock=ports.clock
        ),
        limits=limits,
    )
