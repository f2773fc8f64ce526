"""What is measured: a running contender, its data and its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from machine import Server

USERS = 10_000
POSTS = 100_000
TOKENS = 200
CONTENT = "A post of the bench says the same thing over and over. " * 4


def email_of(user: int) -> str:
    """The address of the user with that number; the numbers start at 1."""
    return f"user{user}@example.com"


def posts_of(user: int) -> list[int]:
    """The ids of the posts that belong to the user with that number in every contender's data."""
    return list(range(USERS + user - 1, POSTS, USERS))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A contender that runs and has been given its data."""

    name: str
    server: Server
    tokens: Sequence[str]
    """Access tokens of the users 1, 2, 3 ..."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Tokens that it must answer with 401, by what is wrong; none: it authenticates nobody."""
    posts: int = POSTS
