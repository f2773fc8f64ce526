"""What the application needs, and what it offers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from application.accounts import AccountService
from application.administration import AdministrationService
from application.auth import AuthService, Lifetimes
from application.mail import MailService
from application.one_time_codes import OneTimeCodeService
from application.ports.clock import Clock
from application.ports.mail import Mailer
from application.ports.passwords import Passwords
from application.ports.queries import Queries
from application.ports.storage import Storage
from application.ports.tokens import Tokens
from application.posts import PostService
from domain.passwords import PasswordPolicy


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What we need: every adapter, and the few figures that the business leaves open."""

    queries: Queries
    storage: Storage
    tokens: Tokens
    passwords: Passwords
    mailer: Mailer
    clock: Clock
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    public_url: str | None = None
    """The site that mails link to."""
    password_policy: PasswordPolicy = field(default_factory=PasswordPolicy)


@dataclass(frozen=True, kw_only=True)
class Services:
    """What we offer: one service a concept."""

    auth: AuthService
    accounts: AccountService
    administration: AdministrationService
    codes: OneTimeCodeService
    mail: MailService
    posts: PostService
    what_is_down: Callable[[], Awaitable[list[str]]]
    """What keeps us from serving, one name each; empty when all is well."""


def build_services(ports: Ports) -> Services:
    mail = MailService(
        queries=ports.queries,
        storage=ports.storage,
        mailer=ports.mailer,
        clock=ports.clock,
        public_url=ports.public_url,
    )
    return Services(
        auth=AuthService(
            queries=ports.queries,
            storage=ports.storage,
            tokens=ports.tokens,
            passwords=ports.passwords,
            clock=ports.clock,
            lifetimes=ports.lifetimes,
        ),
        accounts=AccountService(
            queries=ports.queries,
            storage=ports.storage,
            passwords=ports.passwords,
            clock=ports.clock,
            password_policy=ports.password_policy,
        ),
        administration=AdministrationService(
            queries=ports.queries, storage=ports.storage, clock=ports.clock
        ),
        codes=OneTimeCodeService(
            queries=ports.queries,
            storage=ports.storage,
            passwords=ports.passwords,
            clock=ports.clock,
            password_policy=ports.password_policy,
            on_asked=mail.wake,
        ),
        mail=mail,
        posts=PostService(queries=ports.queries, storage=ports.storage, clock=ports.clock),
        what_is_down=ports.queries.ready,
    )
