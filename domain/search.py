"""What a search looks for: words, beginnings of words and phrases.

`red fox` finds what has both words, `"red fox"` what has them side by side, `fo*` what has a word
that begins so. Case does not matter, and whatever is neither letter nor digit parts words. Every
input means something: one without a word looks for nothing in particular, which is in every text.
"""

import re
from dataclasses import dataclass
from unicodedata import category

QUERY_MAX = 500
"""Characters of a query that count; databases bound the length of words and expressions."""

_PART = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand side by side; of the last one only the beginning, if it is a `prefix`."""

    words: tuple[str, ...]
    prefix: bool = False


def terms_of(query: str) -> tuple[Term, ...]:
    """What a text must have, all of it, for `query` to find it."""
    found = []
    for quoted, bare in _PART.findall(query[:QUERY_MAX]):
        words = words_of(quoted or bare)
        if words:
            found.append(Term(words, prefix=bare.endswith("*")))
    return tuple(found)


def words_of(text: str) -> tuple[str, ...]:
    return tuple("".join(c if category(c)[0] in "LMN" else " " for c in text).split())
