"""Encryption at rest: what every sealer keeps, and the keys of AES-GCM."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

import pytest

from application.ports.sealer import Sealer
from infrastructure.sealer import AesGcmSealer
from tests.fakes.sealer import FakeSealer

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CONTEXT = "totp of user:7"


@pytest.fixture(params=[FakeSealer, lambda: AesGcmSealer([NEW])], ids=["fake", "aes-gcm"])
def sealer(request: pytest.FixtureRequest) -> Sealer:
    make: Callable[[], Sealer] = request.param
    return make()


@pytest.mark.parametrize("secret", [SECRET, "", "ключ", "x" * 10_000])
def test_a_sealed_secret_opens_in_its_context_alone(sealer: Sealer, secret: str) -> None:
    sealed = sealer.seal(secret, CONTEXT)

    assert sealed.isascii()
    assert sealer.open(sealed, CONTEXT) == secret
    assert sealer.open(sealed, "totp of user:8") is None


def test_sealing_a_secret_twice_gives_two_texts(sealer: Sealer) -> None:
    assert sealer.seal(SECRET, CONTEXT) != sealer.seal(SECRET, CONTEXT)


@pytest.mark.parametrize("text", ["", "sealed", "ä", "A" * 37, "A" * 100, "=" * 60, "\ud800"])
def test_text_that_nothing_was_sealed_to_opens_as_nothing(sealer: Sealer, text: str) -> None:
    assert sealer.open(text, CONTEXT) is None


def test_the_secret_is_not_in_the_sealed_text() -> None:
    sealed = AesGcmSealer([NEW]).seal(SECRET, CONTEXT)

    assert SECRET.encode() not in urlsafe_b64decode(sealed)


@pytest.mark.parametrize("at", [0, 11, 12, 30, -1])
def test_a_changed_byte_opens_as_nothing(at: int) -> None:
    sealer = AesGcmSealer([NEW])
    raw = bytearray(urlsafe_b64decode(sealer.seal(SECRET, CONTEXT)))
    raw[at] ^= 1

    assert sealer.open(urlsafe_b64encode(raw).decode(), CONTEXT) is None


def test_the_first_key_seals_and_every_key_opens() -> None:
    both = AesGcmSealer([NEW, OLD])
    by_old = AesGcmSealer([OLD]).seal(SECRET, CONTEXT)

    assert both.open(by_old, CONTEXT) == SECRET
    assert AesGcmSealer([NEW]).open(both.seal(SECRET, CONTEXT), CONTEXT) == SECRET
    assert AesGcmSealer([NEW]).open(by_old, CONTEXT) is None
