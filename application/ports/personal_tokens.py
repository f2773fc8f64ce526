"""Personal tokens, as ports."""

from datetime import datetime
from typing import Protocol

from domain.personal_tokens import NewPersonalToken, PersonalToken, PersonalTokenId
from domain.users import User, UserId


class PersonalTokens(Protocol):
    async def add(self, token: NewPersonalToken) -> PersonalToken:
        """The commit raises `AlreadyGone` if the user was deleted."""
        ...

    async def count(self, user_id: UserId, now: datetime) -> int:
        """The number of the user's tokens that have not expired at `now`."""
        ...

    async def delete(self, token_id: PersonalTokenId, user_id: UserId) -> bool:
        """Delete the token. Returns False, and changes nothing, unless it is one of the user's."""
        ...

    async def delete_all(self, user_id: UserId) -> int:
        """Delete all tokens of the user. Returns their number."""
        ...

    async def note_use(self, token_id: PersonalTokenId, at: datetime) -> None:
        """Set `last_used_at`, unless it is less than `USE_NOTED_EVERY` before `at`."""
        ...


class PersonalTokenQueries(Protocol):
    async def tokens(self, user_id: UserId, now: datetime) -> list[PersonalToken]:
        """The user's tokens that have not expired at `now`, newest first."""
        ...

    async def token_user(self, token_hash: str) -> tuple[PersonalToken, User] | None:
        """The token with this hash, expired or not, and its user."""
        ...
