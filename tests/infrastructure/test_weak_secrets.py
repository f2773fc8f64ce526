"""Published secrets."""

from pathlib import Path

import pytest

from infrastructure.tokens import weak_secrets
from infrastructure.tokens.weak_secrets import weakness

DIGESTS = Path(weak_secrets.__file__).with_name("published_secrets.bin").read_bytes()

PUBLISHED = [
    b"404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    b"JWTAuthenticationHIGHsecuredPasswordVVVp1OH7Xzyr",
    b"GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk",
]


@pytest.mark.parametrize("secret", PUBLISHED)
@pytest.mark.parametrize("copied", [b"%b", b'"%b"', b"%b\r\n"], ids=["as is", "quoted", "a line"])
def test_a_published_secret_is_recognized_however_it_was_copied(
    secret: bytes, copied: bytes
) -> None:
    assert weakness(copied % secret) == "a published one"


@pytest.mark.parametrize("secret", PUBLISHED)
def test_a_secret_that_differs_from_a_published_one_is_accepted(secret: bytes) -> None:
    assert weakness(secret[:-1] + b"~") is None


def test_the_file_holds_1829_sorted_digests_without_repetition() -> None:
    digests = [DIGESTS[at : at + 8] for at in range(0, len(DIGESTS), 8)]

    assert len(digests) == 1829
    assert digests == sorted(set(digests))
