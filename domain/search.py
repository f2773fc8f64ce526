"""The grammar of search queries: words, prefixes and phrases.

`red fox` matches texts with both words, `"red fox"` texts with the two words side by side, and
`fo*` texts with a word that starts with "fo". Case is ignored. Words consist of letters, marks and
digits; every other character separates them. Every query is valid: one without a word matches every
text.
"""

import re
from dataclasses import dataclass
from unicodedata import category

QUERY_MAX = 500
"""Characters of a query that are used; databases limit the length of words and expressions."""

_PART = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """One word or a phrase. With `prefix`, the last word matches every word that starts with it."""

    words: tuple[str, ...]
    prefix: bool = False


def terms_of(query: str) -> tuple[Term, ...]:
    """The terms of `query`. A text matches when it has all of them."""
    found = []
    for quoted, bare in _PART.findall(query[:QUERY_MAX]):
        words = words_of(quoted or bare)
        if words:
            found.append(Term(words, prefix=bare.endswith("*")))
    return tuple(found)


def words_of(text: str) -> tuple[str, ...]:
    return tuple("".join(c if category(c)[0] in "LMN" else " " for c in text).split())
