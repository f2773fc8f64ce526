"""Redaction of log lines and traces, by the names of fields and by the shape of values.

It is a second line of defence: types with secrets hide them in their `repr`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"

_NAMES = {"authorization", "code", "cookie", "credentials", "key", "passphrase", "passwd"}
_NAMES |= {"password", "pepper", "pin", "pwd", "secret", "token", "tokens"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

_SHORTEST = 37
"""Minimum length of a token in characters. A UUID has 36."""

# A client may choose the text, so matching must take linear time: repetitions are possessive (`*+`,
# `++`) and exclude the character that ends them. tests/test_regular_expressions.py measures every
# pattern of the source.
_SHAPES = re.compile(
    r"""
      (?<![\w-]) eyJ[\w-]+ \. [\w-]+ (?:\.[\w-]*)*      # a JSON Web Token, of three parts or five
    | (?<![\w-]) [\w-]{43} (?![\w-])                    # 256 random bits: refresh, opaque, one-time
    | (?<![A-Za-z0-9]) gp_ [A-Za-z0-9]{49}                # a personal token
    | (?<= ://) [^\s/@:]*+ : [^\s/@]++ (?= @)           # user and password in a URL
    | (?<= bearer [ ]) \S+
    | (?P<name> (?:password|passwd|secret|token|pepper|authorization) \w{0,20} ["']? \s? [=:] \s? )
      (?: " [^"]* " | ' [^']* ' | [^\s"'&,;)}\]]+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redacted_text(text: str) -> str:
    """`text` without tokens, passwords in URLs, and values that follow the name of a secret."""
    return text if _is_plain(text) else _SHAPES.sub(_replacement, text)


def redacted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None, with secrets replaced by `REDACTED`.

    Values that are not text, numbers, mappings or collections are replaced by their `repr`.
    """
    secret = _secret_names(tuple(fields))
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        kind = type(value)
        if kind is int or kind is float:
            shown[name] = value
        elif kind is str:
            shown[name] = value if _is_plain(value) else _SHAPES.sub(_replacement, value)
        else:
            shown[name] = _redacted_value(value)
    for name in secret:
        if name in shown:
            shown[name] = REDACTED
    return shown


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted_text(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return redacted({str(name): inner for name, inner in value.items()})
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted_value(inner) for inner in value]
    return redacted_text(repr(value))


def _is_plain(text: str) -> bool:
    """Whether `text` certainly has no secret: a quick check that saves most texts the search."""
    return len(text) < _SHORTEST and ":" not in text and "=" not in text and "earer " not in text


def _replacement(found: re.Match[str]) -> str:
    return (found["name"] or "") + REDACTED


@lru_cache(1000)
def _secret_names(names: tuple[str, ...]) -> Sequence[str]:
    """Names with a word in `_NAMES`: `refresh_token`, `newPassword`; not `keys_file`."""
    return [name for name in names if any(w.lower() in _NAMES for w in _WORD.findall(name))]
