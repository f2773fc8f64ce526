"""What adapters that verify JWTs share: strict payloads, and memory of verified signatures."""

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, NoReturn, TypeVar

from application.ports.tokens import Claims, ExternalClaims
from domain.sessions import InvalidToken

C = TypeVar("C", Claims, ExternalClaims)

_LAST_MOMENT = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second of `datetime`


@dataclass(frozen=True, slots=True)
class Genuine(Generic[C]):
    """A token whose signature was checked: `claims` hold from `valid_from` until they expire."""

    claims: C
    valid_from: datetime


class VerifiedTokens(Generic[C]):
    """The tokens verified last, so that their signatures are checked once. Takes about 700 bytes
    for each of up to `size` tokens.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # By the whole text, so that no changed token is taken for a remembered one.
        self._tokens: OrderedDict[str, Genuine[C]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, token: str) -> Genuine[C] | None:
        return self._tokens.get(token)

    def accept(self, token: str, genuine: Genuine[C] | None, now: datetime) -> C:
        """The claims of a token, which is remembered. Raises `InvalidToken` for None and unless
        they hold at `now`: at `exp` they do not any more (RFC 7519, section 4.1.4).
        """
        if genuine is None or not genuine.valid_from <= now < genuine.claims.expires_at:
            self._tokens.pop(token, None)
            raise InvalidToken
        self._tokens[token] = genuine
        self._tokens.move_to_end(token)
        if len(self._tokens) > self._size:
            self._tokens.popitem(last=False)
        return genuine.claims

    def clear(self) -> None:
        self._tokens.clear()


def parsed(payload: bytes) -> dict[str, object]:
    """A JSON object whose members have one name each. Raises `ValueError` for all else."""
    # Depth is bounded by counting brackets: how deep `json` can go differs between Pythons.
    if payload.count(b"[") + payload.count(b"{") > 20:
        raise ValueError("nested too deeply")
    text = payload.decode("utf-8")  # RFC 8725, section 3.7
    said = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    return said


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # RFC 7519, section 4: readers differ on which of two claims of one name counts.
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("two members of one name")
    return members


def _refuse(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON (RFC 8259, section 6)")


def moment(value: object) -> datetime:
    """A NumericDate in whole seconds. Raises `ValueError` for all else."""
    if isinstance(value, float):
        raise ValueError("not in whole seconds")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LAST_MOMENT:
        raise ValueError("not a time")
    return datetime.fromtimestamp(value, UTC)
