"""Personal tokens: what scripts, CI and agents authenticate with instead of a session.

A token is `gp_`, 43 random characters of base62 and six of a CRC-32 of these. A rule is a function
of a `TokenContext`.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits
from typing import NewType
from zlib import crc32

from domain.errors import Conflict, NotFound, RuleBroken
from domain.policies import AdminsOnly, grantable
from domain.scopes import TOKEN_SCOPES, Scope, SessionRequired
from domain.users import User, UserId

PREFIX = "gp_"
"""Begins every personal token and no other kind, so that secret scanners find it."""
NAME_MAX = 100
TOKENS_MAX = 50
"""Live tokens of a user."""
LIFE = timedelta(days=90)
"""Lifetime of a token that is made without one."""
LIFE_MAX = timedelta(days=3650)
CLOCK_SKEW = timedelta(seconds=5)
"""How far ahead of our clock a token may have been made, because machines' clocks differ."""
USE_NOTED_EVERY = timedelta(hours=1)
"""`last_used_at` is written no more often than this."""

_BASE62 = digits + ascii_uppercase + ascii_lowercase
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_LENGTH = len(PREFIX) + _SECRET_LENGTH + _CHECKSUM_LENGTH
SECRETS = 62**_SECRET_LENGTH
"""The number of secrets, over 2**256."""

PersonalTokenId = NewType("PersonalTokenId", int)


class TokenNotFound(NotFound):
    def __init__(self, token_id: int) -> None:
        super().__init__(f"Token with id: {token_id} was not found")


class TooManyTokens(Conflict):
    detail = f"Delete one of your {TOKENS_MAX} tokens first"


class BadTokenName(RuleBroken):
    detail = f"name must have 1 to {NAME_MAX} characters and no control characters"


class BadScopes(RuleBroken):
    detail = f"scopes must be one or more of {', '.join(TOKEN_SCOPES)}"


class BadTokenLife(RuleBroken):
    detail = f"a token lives from one second to {LIFE_MAX.days} days"


@dataclass(slots=True, kw_only=True, eq=False)
class PersonalToken:
    """A personal token as it is stored, which is without the token itself."""

    id: PersonalTokenId
    user_id: UserId
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    """At most `USE_NOTED_EVERY` before the last use; None: never used."""

    def is_valid_for(self, user: User, now: datetime) -> bool:
        """Whether the token authenticates `user` at `now`."""
        return (
            self.user_id == user.id
            and self.created_at - CLOCK_SKEW <= now < self.expires_at
            and user.accepts_tokens_from(self.created_at)
        )

    def scopes_for(self, user: User) -> frozenset[Scope]:
        """The scopes that the token has while its owner is as `user` is now."""
        return grantable(user).intersection(self.scopes)

    def is_use_worth_noting(self, now: datetime) -> bool:
        return self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDraft:
    """The input of a new token."""

    name: str
    scopes: frozenset[Scope]
    life: timedelta = LIFE


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPersonalToken:
    """A token that passed the rules and is not stored yet."""

    user_id: UserId
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    token_hash: str = field(repr=False)

    def stored_as(self, token_id: int) -> PersonalToken:
        """The token that it becomes when it is stored under this id."""
        return PersonalToken(
            id=PersonalTokenId(token_id),
            user_id=self.user_id,
            name=self.name,
            scopes=self.scopes,
            created_at=self.created_at,
            expires_at=self.expires_at,
            last_used_at=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContext:
    """Everything that a rule may look at."""

    actor: User
    """Who makes the token, for themselves."""
    draft: TokenDraft
    now: datetime
    tokens: int = 0
    """The number of live tokens of the actor."""


Rule = Callable[[TokenContext], None]


def a_session_makes_it(context: TokenContext) -> None:
    if Scope.SESSION_ONLY not in context.actor.scopes:
        raise SessionRequired


def name_is_sound(context: TokenContext) -> None:
    name = context.draft.name
    if not 1 <= len(name.strip()) <= NAME_MAX or any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name
    ):
        raise BadTokenName


def scopes_are_for_tokens(context: TokenContext) -> None:
    if not context.draft.scopes or not context.draft.scopes <= set(TOKEN_SCOPES):
        raise BadScopes


def life_is_in_bounds(context: TokenContext) -> None:
    if not timedelta(seconds=1) <= context.draft.life <= LIFE_MAX:
        raise BadTokenLife


def owner_may_do_as_much(context: TokenContext) -> None:
    if not context.draft.scopes <= grantable(context.actor):
        raise AdminsOnly


def there_is_room(context: TokenContext) -> None:
    if context.tokens >= TOKENS_MAX:
        raise TooManyTokens


MAKING_RULES: tuple[Rule, ...] = (
    a_session_makes_it,
    name_is_sound,
    scopes_are_for_tokens,
    life_is_in_bounds,
    owner_may_do_as_much,
    there_is_room,
)


def make(context: TokenContext, token: str) -> NewPersonalToken:
    """The new token, `token`. Raises the error of the first of `MAKING_RULES` that is broken."""
    for rule in MAKING_RULES:
        rule(context)
    draft = context.draft
    return NewPersonalToken(
        user_id=context.actor.id,
        name=draft.name.strip(),
        scopes=tuple(scope for scope in TOKEN_SCOPES if scope in draft.scopes),
        created_at=context.now,
        expires_at=context.now + draft.life,
        token_hash=token_hash(token),
    )


def token_of(secret: int) -> str:
    """The token with this secret, a random number below `SECRETS`."""
    body = _base62(secret, _SECRET_LENGTH)
    return PREFIX + body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether prefix, length and checksum are right. A mistyped or made-up token hardly ever is."""
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not token.isascii():
        return False
    body = token[len(PREFIX) : -_CHECKSUM_LENGTH]
    return body.isalnum() and token.endswith(_checksum(body))


def token_hash(token: str) -> str:
    """The stored form of a token. It has 256 random bits, so a fast hash suffices."""
    return sha256(token.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits_ = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits_.append(_BASE62[digit])
    return "".join(reversed(digits_))
