"""Refusal of HMAC secrets that others know or can guess.

`published_secrets.bin` holds the first 8 bytes of the SHA-256 of each of 1,829 secrets of 32 bytes
or more that stand in public repositories and tutorials, sorted.
"""

from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

_PREFIX = 8  # bytes of each digest in the file

# Published examples (RFC 7515, appendix A.1; FastAPI's tutorial; jwt.io) and the words that
# placeholders are made of, each before those it contains. What is left of a secret without them has
# to be a secret by itself.
_WORDS = b"""
    AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow
    09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7
    a-string-secret-at-least-256-bits-long your-256-bit-secret django-insecure changethis changeit
    changeme change replace placeholder development gatepost insecure password default example
    production fastapi private secret please qwerty super token admin your test this key jwt - _
""".lower().split()


def weakness(secret: bytes) -> str | None:
    """What is wrong with `secret`, to be read behind "The secret is"; None if nothing was found.

    Passing proves little: only published secrets, placeholders and simple patterns are recognized.
    """
    if len(secret) < 32:
        return "shorter than 32 bytes (RFC 7518, section 3.2)"
    if not _published().isdisjoint(map(_digest, (secret, secret.strip(b" \t\r\n\"'")))):
        return "a published one"
    rest = secret.lower()
    for word in _WORDS:
        rest = rest.replace(word, b"")
    if len(rest) < 16:
        return "a published example, or made of the words of such examples"
    # Steps between neighbours: few of them in repetitions, in "abcdef..." and in padding.
    steps = {b - a for a, b in pairwise(rest)}
    if len(set(rest)) < 8 or len(steps) < 9:
        return "made of few different bytes, or of a pattern"
    return None


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()[:_PREFIX]


@cache
def _published() -> frozenset[bytes]:
    digests = Path(__file__).with_name("published_secrets.bin").read_bytes()
    return frozenset(digests[at : at + _PREFIX] for at in range(0, len(digests), _PREFIX))
