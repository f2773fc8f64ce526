"""Scopes: what a request's credential lets its user do.

A route names the scope that it needs (`api.routing.protected_router`). A session has every scope, a
personal token those that it was made with. A concept that is not covered by these adds its own
lines.
"""

from enum import StrEnum

from domain.errors import NotAllowed


class Scope(StrEnum):
    description: str
    """What it lets a client do, for the OpenAPI document."""

    def __new__(cls, value: str, description: str = "") -> "Scope":
        scope = str.__new__(cls, value)
        scope._value_ = value
        scope.description = description
        return scope

    ACCOUNT_READ = (
        "account:read",
        "Read and export the own account, see the names of others",
    )
    ACCOUNT_WRITE = "account:write", "Change the own profile and end the own sessions"
    POSTS_READ = "posts:read", "Read posts, and the own drafts"  # posts only
    POSTS_WRITE = "posts:write", "Write, change, delete and vote for posts"  # posts only
    ADMIN = "admin", "Administer users and read the audit, as an admin"
    SESSION_ONLY = "session", "What only a session may do: no token can have it"


EVERY_SCOPE = frozenset(Scope)
"""The scopes of a session."""

TOKEN_SCOPES = tuple(scope for scope in Scope if scope is not Scope.SESSION_ONLY)
"""The scopes that a token can have, in the order in which they are listed."""


class InsufficientScope(NotAllowed):
    def __init__(self, scope: Scope) -> None:
        super().__init__(f"The token does not have the scope {scope.value}")
        self.scope = scope


class SessionRequired(NotAllowed):
    detail = "Only a session may do this: log in"


def refusal(scope: Scope) -> NotAllowed:
    """The error of a request whose credential does not have `scope`."""
    return SessionRequired() if scope is Scope.SESSION_ONLY else InsufficientScope(scope)
