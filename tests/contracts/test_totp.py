"""Time-based codes: what every adapter keeps, and the test vectors of the RFCs."""

from base64 import b32decode, b32encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from application.ports.totp import TotpCodes
from infrastructure.totp import PyotpCodes
from tests.fakes.totp import FakeTotpCodes

RFC_SECRET = b32encode(b"12345678901234567890").decode()
RFC_4226 = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]
STEP = timedelta(seconds=30)
START = datetime(2026, 1, 1, tzinfo=UTC)
Code = Callable[[str, datetime], str]


def pyotp_code(secret: str, at: datetime) -> str:
    return pyotp.TOTP(secret).at(at)


@pytest.fixture(params=["fake", "pyotp"])
def both(request: pytest.FixtureRequest) -> tuple[TotpCodes, Code]:
    if request.param == "pyotp":
        return PyotpCodes("Gatepost"), pyotp_code
    fake = FakeTotpCodes()
    return fake, fake.code


@pytest.mark.parametrize(
    ("later", "matches"),
    [(-1, False), (0, True), (29, True), (30, True), (59, True), (60, False), (90, False)],
)
def test_a_code_is_of_the_current_step_or_the_one_before(
    both: tuple[TotpCodes, Code], later: int, matches: bool
) -> None:
    codes, code = both
    secret = codes.new_secret()

    found = codes.step_of(secret, code(secret, START), START + timedelta(seconds=later))

    assert found == (int(START.timestamp()) // 30 if matches else None)


def test_steps_grow_with_time(both: tuple[TotpCodes, Code]) -> None:
    codes, code = both
    secret = codes.new_secret()
    times = [START + n * STEP for n in range(3)]

    steps = [codes.step_of(secret, code(secret, at), at) for at in times]

    first = int(START.timestamp()) // 30
    assert steps == [first, first + 1, first + 2]


@pytest.mark.parametrize(
    "text", ["", "0", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "\ud800", "x" * 999]
)
def test_what_is_no_code_is_of_no_step(both: tuple[TotpCodes, Code], text: str) -> None:
    codes, _ = both

    assert codes.step_of(codes.new_secret(), text, START) is None


def test_the_code_of_another_secret_is_of_no_step(both: tuple[TotpCodes, Code]) -> None:
    codes, code = both
    mine, other = codes.new_secret(), codes.new_secret()

    assert mine != other
    assert codes.step_of(mine, code(other, START), START) is None


# RFC 6238, appendix B, for SHA-1: the last six of eight digits.
@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_codes_of_rfc_6238(seconds: int, code: str) -> None:
    codes = PyotpCodes("Gatepost")
    now = datetime.fromtimestamp(seconds, UTC)

    assert codes.step_of(RFC_SECRET, code[2:], now) == seconds // 30


# RFC 4226, appendix D: the counter is the step.
@pytest.mark.parametrize(
    ("counter", "code"),
    list(enumerate(RFC_4226)),
)
def test_the_codes_of_rfc_4226(counter: int, code: str) -> None:
    codes = PyotpCodes("Gatepost")
    now = datetime.fromtimestamp(counter * 30, UTC)

    assert codes.step_of(RFC_SECRET, code, now) == counter


def test_the_first_step_of_all_has_none_before() -> None:
    codes = PyotpCodes("Gatepost")

    assert codes.step_of(RFC_SECRET, "000000", datetime.fromtimestamp(0, UTC)) is None


def test_a_secret_has_160_bits() -> None:
    secrets = {PyotpCodes("Gatepost").new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(b32decode(secret)) for secret in secrets} == {20}


def test_apps_read_secret_account_and_issuer_from_the_address() -> None:
    uri = urlsplit(PyotpCodes("Gatepost").uri(RFC_SECRET, "anna+1@example.com"))

    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == "/Gatepost:anna%2B1%40example.com"
    assert parse_qs(uri.query) == {"secret": [RFC_SECRET], "issuer": ["Gatepost"]}
