"""What the application needs, and what it offers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from application.accounts import AccountService
from application.auth import AuthService, Lifetimes
from application.ports.clock import Clock
from application.ports.passwords import Passwords
from application.ports.queries import Queries
from application.ports.storage import Storage
from application.ports.tokens import Tokens
from application.posts import PostService
from application.votes import VoteService
from domain.posts import DEFAULT_OPTIONS, PostOptions


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What we need: every adapter, and the few figures that the business leaves open."""

    queries: Queries
    storage: Storage
    tokens: Tokens
    passwords: Passwords
    clock: Clock
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    password_min: int = 12
    post_options: PostOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, kw_only=True)
class Services:
    """What we offer: one service a concept."""

    auth: AuthService
    accounts: AccountService
    posts: PostService
    votes: VoteService
    what_is_down: Callable[[], Awaitable[list[str]]]
    """What keeps us from serving, one name each; empty when all is well."""


def build_services(ports: Ports) -> Services:
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
            password_min=ports.password_min,
        ),
        posts=PostService(
            queries=ports.queries,
            storage=ports.storage,
            clock=ports.clock,
            options=ports.post_options,
        ),
        votes=VoteService(queries=ports.queries, storage=ports.storage),
        what_is_down=ports.queries.ready,
    )
