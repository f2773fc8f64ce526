"""What python-jose 3.5 lets through and `JoseTokens` does not.

Each test takes a genuine token, changes one thing and signs again with the right key: by hand, so
that python-jose is not tested with itself.
"""

import base64
import hashlib
import hmac
import itertools
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from application.ports.tokens import LEEWAY, Claims
from domain.sessions import InvalidToken, SessionId
from domain.users import UserId
from infrastructure.tokens.jose import (
    PAYLOAD_AND_SIGNATURE,
    JoseTokens,
    SigningKey,
    UnfitKey,
    hs256_key,
    jwk_key,
    new_jwk,
)
from infrastructure.tokens.weak_secrets import weakness
from tests.fakes.tokens import issued

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
ISSUED_AT = NOW.replace(microsecond=0)
SECOND = timedelta(seconds=1)
CLAIMS = Claims(
    user_id=UserId(7),
    session_id=SessionId(41),
    issued_at=ISSUED_AT,
    expires_at=ISSUED_AT + timedelta(hours=1),
)
IAT, EXP = int(CLAIMS.issued_at.timestamp()), int(CLAIMS.expires_at.timestamp())
SECRET = hashlib.sha256(b"the secret of these tests").digest()
OTHER_SECRET = hashlib.sha256(b"another secret").digest()
KEY = hs256_key(SECRET)


def jose(*keys: SigningKey, **more: int) -> JoseTokens:
    return JoseTokens(keys, issuer="https://gatepost.test", audience="gatepost", **more)


@pytest.fixture
def tokens() -> JoseTokens:
    return jose(KEY)


@pytest.fixture
async def token(tokens: JoseTokens) -> str:
    return await issued(tokens, CLAIMS)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def number(member: str) -> int:
    return int.from_bytes(decoded(member), "big")


Sign = Callable[[bytes], bytes]


def by_hmac(message: bytes) -> bytes:
    return hmac.digest(SECRET, message, "sha256")


def signed(header: bytes, payload: bytes, sign: Sign = by_hmac) -> str:
    message = f"{encoded(header)}.{encoded(payload)}"
    return f"{message}.{encoded(sign(message.encode()))}"


def opened(token: str) -> tuple[bytes, bytes]:
    """The JSON texts of header and payload."""
    header, payload, _ = token.split(".")
    return decoded(header), decoded(payload)


async def refuses(tokens: JoseTokens, token: str, now: datetime = NOW) -> bool:
    with pytest.raises(InvalidToken) as refusal:
        await tokens.verify(token, now)
    error = refusal.value
    return type(error) is InvalidToken and error.__cause__ is error.__context__ is None


async def test_a_token_that_is_signed_again_unchanged_verifies(
    tokens: JoseTokens, token: str
) -> None:
    # Or else the refusals below would prove nothing.
    assert await tokens.verify(signed(*opened(token)), NOW) == CLAIMS


async def test_a_token_has_only_ids_and_times(token: str) -> None:
    header, payload = (json.loads(text) for text in opened(token))

    assert header == {"alg": "HS256", "kid": KEY.kid, "typ": "at+jwt"}
    jti = payload.pop("jti")
    assert payload == {
        "iss": "https://gatepost.test",
        "aud": "gatepost",
        "sub": "7",
        "sid": "41",
        "iat": IAT,
        "exp": EXP,
    }
    assert len(decoded(jti)) == 16


def opened_header(key: SigningKey) -> bytes:
    return f'{{"alg":"{key.algorithm}","kid":"{key.kid}","typ":"at+jwt"}}'.encode()


async def test_a_header_has_one_spelling(token: str) -> None:
    # Headers are compared as texts: should an update of python-jose write them in another way, all
    # tokens issued before it would die with it. Let that be a decision, then.
    assert opened(token)[0] == opened_header(KEY)


# --- The header ---

ALG, KID, TYP = '"alg":"HS256"', f'"kid":"{KEY.kid}"', '"typ":"at+jwt"'

HEADERS = {
    "no alg": f"{{{KID},{TYP}}}",
    "no kid": f"{{{ALG},{TYP}}}",
    "no typ": f"{{{ALG},{KID}}}",
    "no members": "{}",
    "crit": f'{{{ALG},{KID},{TYP},"crit":["exp"]}}',
    "an empty crit": f'{{{ALG},{KID},{TYP},"crit":[]}}',
    "crit with b64": f'{{{ALG},{KID},{TYP},"crit":["b64"],"b64":true}}',
    "b64 true": f'{{{ALG},{KID},{TYP},"b64":true}}',
    "b64 false": f'{{{ALG},{KID},{TYP},"b64":false}}',
    "zip": f'{{{ALG},{KID},{TYP},"zip":"DEF"}}',
    "jwk": f'{{{ALG},{KID},{TYP},"jwk":{{"kty":"oct","k":"{encoded(SECRET)}"}}}}',
    "jku": f'{{{ALG},{KID},{TYP},"jku":"https://gatepost.test/keys"}}',
    "x5u": f'{{{ALG},{KID},{TYP},"x5u":"https://gatepost.test/keys"}}',
    "cty": f'{{{ALG},{KID},{TYP},"cty":"JWT"}}',
    "an unknown name": f'{{{ALG},{KID},{TYP},"x":1}}',
    "typ JWT": f'{{{ALG},{KID},"typ":"JWT"}}',
    "typ null": f'{{{ALG},{KID},"typ":null}}',
    "typ in a list": f'{{{ALG},{KID},"typ":["at+jwt"]}}',
    "typ of a refresh token": f'{{{ALG},{KID},"typ":"rt+jwt"}}',
    "alg null": f'{{"alg":null,{KID},{TYP}}}',
    "alg empty": f'{{"alg":"",{KID},{TYP}}}',
    "alg in a list": f'{{"alg":["HS256"],{KID},{TYP}}}',
    "alg in lower case": f'{{"alg":"hs256",{KID},{TYP}}}',
    "alg HS384": f'{{"alg":"HS384",{KID},{TYP}}}',
    "alg RS256": f'{{"alg":"RS256",{KID},{TYP}}}',
    "alg ES256": f'{{"alg":"ES256",{KID},{TYP}}}',
    "alg dir": f'{{"alg":"dir",{KID},{TYP}}}',
    "kid null": f'{{{ALG},"kid":null,{TYP}}}',
    "kid empty": f'{{{ALG},"kid":"",{TYP}}}',
    "kid a number": f'{{{ALG},"kid":0,{TYP}}}',
    "kid true": f'{{{ALG},"kid":true,{TYP}}}',
    "kid in a list": f'{{{ALG},"kid":["{KEY.kid}"],{TYP}}}',
    "kid an object": f'{{{ALG},"kid":{{}},{TYP}}}',
    "kid unknown": f'{{{ALG},"kid":"unknown",{TYP}}}',
    "kid a path": f'{{{ALG},"kid":"../../../../dev/null",{TYP}}}',
    "kid of another secret": f'{{{ALG},"kid":"{hs256_key(OTHER_SECRET).kid}",{TYP}}}',
    "kid a lone surrogate": f'{{{ALG},"kid":"\\ud800",{TYP}}}',
    "alg twice": f'{{"alg":"none",{ALG},{KID},{TYP}}}',
    "kid twice": f"{{{ALG},{KID},{KID},{TYP}}}",
    "crit hidden by a second crit": f'{{{ALG},"crit":["b64"],"crit":null,{KID},{TYP}}}',
    "a byte order mark": f"\ufeff{{{ALG},{KID},{TYP}}}",
    "longer than 512": f'{{{ALG},{KID},{TYP},"x":"{"x" * 512}"}}',
    "nested deeply": f'{{{ALG},{KID},{TYP},"x":{"[" * 1300}{"]" * 1300}}}',
    "nested without end": "[" * 2700,
    "nested objects without end": '{"a":' * 500,
    "a list": f"[{{{ALG},{KID},{TYP}}}]",
    "null": "null",
    "a string": '"HS256"',
    "a number beyond floats": f'{{{ALG},{KID},{TYP},"x":1e400}}',
    "a number of 2,000 digits": f'{{{ALG},{KID},{TYP},"x":{"9" * 2000}}}',
    "NaN": f'{{{ALG},{KID},{TYP},"x":NaN}}',
    "empty": "",
    "no JSON": "alg=HS256",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
async def test_another_header_is_refused(tokens: JoseTokens, token: str, header: str) -> None:
    _, payload = opened(token)

    assert await refuses(tokens, signed(header.encode(), payload))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
async def test_json_in_another_encoding_is_refused(
    tokens: JoseTokens, token: str, codec: str
) -> None:
    header, payload = opened(token)

    assert await refuses(tokens, signed(header.decode().encode(codec), payload))
    assert await refuses(tokens, signed(header, payload.decode().encode(codec)))


@pytest.mark.parametrize("none", list(map("".join, itertools.product("nN", "oO", "nN", "eE"))))
async def test_every_spelling_of_alg_none_is_refused(
    tokens: JoseTokens, token: str, none: str
) -> None:
    _, payload = opened(token)
    for header in (f'{{"alg":"{none}",{KID},{TYP}}}', f'{{"alg":"{none}"}}'):
        assert await refuses(tokens, signed(header.encode(), payload))
        assert await refuses(tokens, signed(header.encode(), payload, lambda message: b""))


# --- The claims ---

MISSING = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]


def with_claim(token: str, name: str, value: str | None) -> str:
    """The token with `value`, a JSON text, in the place of a claim's; None takes the claim away."""
    header, payload = opened(token)
    members = {key: json.dumps(said) for key, said in json.loads(payload).items()}
    members.pop(name, None)
    if value is not None:
        members[name] = value
    changed = ",".join(f'"{key}":{said}' for key, said in members.items())
    return signed(header, f"{{{changed}}}".encode())


@pytest.mark.parametrize("name", MISSING)
async def test_a_missing_claim_is_refused(tokens: JoseTokens, token: str, name: str) -> None:
    assert await refuses(tokens, with_claim(token, name, None))


NOT_A_VALUE = ["null", "true", "false", "[]", "{}", '""', "NaN", "Infinity", "-Infinity", "1e400"]


@pytest.mark.parametrize("value", NOT_A_VALUE)
@pytest.mark.parametrize("name", [*MISSING, "nbf"])
async def test_a_claim_of_another_type_is_refused(
    tokens: JoseTokens, token: str, name: str, value: str
) -> None:
    assert await refuses(tokens, with_claim(token, name, value))


BAD_CLAIMS = {
    "another issuer": ("iss", '"https://gatepost.example"'),
    "the issuer with a slash": ("iss", '"https://gatepost.test/"'),
    "the issuer in another case": ("iss", '"https://Gatepost.test"'),
    "the issuer in a list": ("iss", '["https://gatepost.test"]'),
    "another audience": ("aud", '"elsewhere"'),
    "the audience in a list": ("aud", '["gatepost"]'),
    "the audience among others": ("aud", '["gatepost","elsewhere"]'),
    "the audience in another case": ("aud", '"Gatepost"'),
    "sub a number": ("sub", "7"),
    "sub a word": ("sub", '"admin"'),
    "sub zero": ("sub", '"0"'),
    "sub negative": ("sub", '"-7"'),
    "sub with a sign": ("sub", '"+7"'),
    "sub with a leading zero": ("sub", '"07"'),
    "sub with a space": ("sub", '" 7"'),
    "sub with a newline": ("sub", '"7\\n"'),
    "sub with an underscore": ("sub", '"1_0"'),
    "sub a fraction": ("sub", '"7.0"'),
    "sub in another script": ("sub", '"\\u0667"'),
    "sub a lone surrogate": ("sub", '"\\ud800"'),
    "sub with NUL": ("sub", '"7\\u0000"'),
    "sub beyond 63 bits": ("sub", f'"{2**63}"'),
    "sub of 2,000 digits": ("sub", f'"{"9" * 2000}"'),
    "sid a number": ("sid", "41"),
    "sid zero": ("sid", '"0"'),
    "sid negative": ("sid", '"-41"'),
    "sid with a leading zero": ("sid", '"041"'),
    "sid beyond 63 bits": ("sid", f'"{2**63}"'),
    "exp in a string": ("exp", f'"{EXP}"'),
    "exp a float": ("exp", f"{EXP}.0"),
    "exp with an exponent": ("exp", "2e9"),
    "exp in a list": ("exp", f"[{EXP}]"),
    "exp now": ("exp", str(IAT)),
    "exp past": ("exp", str(IAT - 1)),
    "exp zero": ("exp", "0"),
    "exp negative": ("exp", f"-{EXP}"),
    "exp beyond the year 9999": ("exp", "253402300800"),
    "exp beyond 64 bits": ("exp", str(2**64 + EXP)),
    "exp of 2,000 digits": ("exp", "9" * 2000),
    "iat in a string": ("iat", f'"{IAT}"'),
    "iat a float": ("iat", f"{IAT}.0"),
    "iat negative": ("iat", "-1"),
    "iat ahead of the clock": ("iat", str(IAT + 6)),
    "iat far ahead": ("iat", str(EXP - 1)),
    "iat at exp": ("iat", str(EXP)),
    "iat after exp": ("iat", str(EXP + 1)),
    "iat beyond the year 9999": ("iat", "253402300800"),
    "nbf ahead of the clock": ("nbf", str(IAT + 6)),
    "nbf in a string": ("nbf", f'"{IAT}"'),
    "nbf a float": ("nbf", f"{IAT}.5"),
    "nbf negative": ("nbf", "-1"),
    "nbf of 2,000 digits": ("nbf", "9" * 2000),
    "jti a number": ("jti", "1"),
    "a claim nested deeply": ("x", "[" * 1300 + "]" * 1300),
    "a claim nested in objects": ("x", '{"a":' * 400 + "1" + "}" * 400),
    "a claim NaN": ("x", "NaN"),
    "a claim Infinity": ("x", "Infinity"),
    "a name twice inside a claim": ("x", '{"a":1,"a":2}'),
    "a trailing comma": ("x", "1,"),
    "a raw control character": ("x", '"\n"'),
    "a raw NUL": ("x", '"\0"'),
}


@pytest.mark.parametrize(("name", "value"), BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_a_bad_claim_is_refused(
    tokens: JoseTokens, token: str, name: str, value: str
) -> None:
    assert await refuses(tokens, with_claim(token, name, value))


GOOD_CLAIMS = {
    "an unknown claim": ("x", '{"a":[1,2.5,null,"\\ud83d\\ude00"]}'),
    "nbf at iat": ("nbf", str(IAT)),
    "nbf before iat": ("nbf", "0"),
    "another jti": ("jti", '"x"'),
}


@pytest.mark.parametrize(("name", "value"), GOOD_CLAIMS.values(), ids=GOOD_CLAIMS.keys())
async def test_an_unknown_claim_is_ignored(
    tokens: JoseTokens, token: str, name: str, value: str
) -> None:
    assert await tokens.verify(with_claim(token, name, value), NOW) == CLAIMS


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("first", [True, False])
async def test_a_repeated_claim_is_refused(
    tokens: JoseTokens, token: str, name: str, first: bool
) -> None:
    header, payload = opened(token)
    again = f'"{name}":{json.dumps(json.loads(payload)[name])}'
    text = payload.decode()
    changed = f"{{{again},{text[1:]}" if first else f"{text[:-1]},{again}}}"

    assert await refuses(tokens, signed(header, changed.encode()))


PAYLOADS = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"sub"',
    "a number": b"7",
    "no members": b"{}",
    "no JSON": b"sub=7",
    "not UTF-8": b'{"sub":"\xff"}',
    "overlong UTF-8": b'{"sub":"\xc0\xb7"}',
    "a surrogate in UTF-8": b'{"sub":"\xed\xa0\x80"}',
    "nested without end": b"[" * 2800,
    "a number of 2,900 digits": b"9" * 2900,
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_a_payload_that_is_no_json_object_is_refused(
    tokens: JoseTokens, token: str, payload: bytes
) -> None:
    header, _ = opened(token)

    assert await refuses(tokens, signed(header, payload))


@pytest.mark.parametrize("tail", [b"{}", b"x", b"\0", b","])
async def test_text_after_the_claims_is_refused(
    tokens: JoseTokens, token: str, tail: bytes
) -> None:
    header, payload = opened(token)

    assert await refuses(tokens, signed(header, payload + tail))


# --- The form ---


async def test_a_token_longer_than_4096_characters_is_refused(
    tokens: JoseTokens, token: str
) -> None:
    def padded(size: int) -> str:
        return with_claim(token, "x", json.dumps("x" * size))

    size = next(size for size in itertools.count(2500) if len(padded(size + 1)) > 4096)

    assert await tokens.verify(padded(size), NOW) == CLAIMS
    assert await refuses(tokens, padded(size + 1))


@pytest.mark.parametrize("segment", [0, 1, 2])
async def test_padded_segments_are_refused(tokens: JoseTokens, token: str, segment: int) -> None:
    for padding_ in ("=", "==", "==="):
        parts = token.split(".")
        parts[segment] += padding_
        assert await refuses(tokens, ".".join(parts))


@pytest.mark.parametrize("segment", [0, 1])
async def test_padded_segments_are_refused_although_the_signature_covers_the_padding(
    tokens: JoseTokens, token: str, segment: int
) -> None:
    parts = token.split(".")[:2]
    parts[segment] += "=" * (-len(parts[segment]) % 4 or 4)
    message = ".".join(parts)

    assert await refuses(tokens, f"{message}.{encoded(by_hmac(message.encode()))}")


JUNK = ["\n", " ", "!", "*", "\u00e9", "\ud800", "\0", "%", "~"]


@pytest.mark.parametrize("junk", JUNK, ids=ascii)
@pytest.mark.parametrize("segment", [0, 1, 2])
async def test_junk_in_a_segment_is_refused(
    tokens: JoseTokens, token: str, segment: int, junk: str
) -> None:
    # Python's base64 passes over what is not in its alphabet.
    parts = token.split(".")
    parts[segment] = parts[segment][:5] + junk + parts[segment][5:]

    assert await refuses(tokens, ".".join(parts))


async def test_the_other_base64_alphabet_is_refused(tokens: JoseTokens) -> None:
    with_both = (await issued(tokens, CLAIMS) for _ in itertools.count())
    token = await anext(token async for token in with_both if re.search(r"-.*_|_.*-", token))

    assert await refuses(tokens, token.replace("-", "+"))
    assert await refuses(tokens, token.replace("_", "/"))
    assert await refuses(tokens, token.replace("-", "+").replace("_", "/"))


async def test_spare_bits_of_the_signature_must_be_zero(tokens: JoseTokens, token: str) -> None:
    *_, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = [token[:-1] + c for c in alphabet if decoded(signature[:-1] + c) == decoded(signature)]

    assert len(twins) == 4
    for twin in twins:
        if twin != token:
            assert await refuses(tokens, twin)


async def test_spare_bits_of_the_payload_must_be_zero_although_the_signature_covers_them(
    tokens: JoseTokens, token: str
) -> None:
    one_byte_over = next(
        longer
        for longer in (with_claim(token, "x", json.dumps("x" * size)) for size in range(3))
        if len(longer.split(".")[1]) % 4 == 2
    )
    header, payload, _ = one_byte_over.split(".")
    message = f"{header}.{payload[:-1]}{chr(ord(payload[-1]) + 1)}"

    assert await tokens.verify(one_byte_over, NOW) == CLAIMS
    assert decoded(message.split(".")[1]) == decoded(payload)
    assert await refuses(tokens, f"{message}.{encoded(by_hmac(message.encode()))}")


@given(segment=st.text("AQgwEIxyz09-_", max_size=9))
def test_only_the_canonical_base64_of_the_same_bytes_is_accepted(segment: str) -> None:
    is_canonical = len(segment) % 4 != 1 and encoded(decoded(segment)) == segment

    assert bool(PAYLOAD_AND_SIGNATURE.fullmatch(f"{segment}.{segment}")) == is_canonical


async def test_a_token_has_exactly_three_segments(tokens: JoseTokens, token: str) -> None:
    header, payload, signature = token.split(".")

    for parts in (
        [header],
        [header, payload],
        [header, signature],
        ["", payload, signature],
        [header, "", signature],
        [header, payload, ""],
        [header, payload, "", signature],
        [header, payload, signature, ""],
        ["", header, payload, signature],
        [header, payload, signature, signature],
        [header, payload, payload, signature],
        [header, "", "", payload, signature],  # As a JWE has
    ):
        assert await refuses(tokens, ".".join(parts))


async def test_a_shortened_signature_is_refused(tokens: JoseTokens, token: str) -> None:
    header, payload = opened(token)

    for size in range(32):
        assert await refuses(tokens, signed(header, payload, lambda m, n=size: by_hmac(m)[:n]))  # type: ignore[misc]


# --- Time ---


async def test_a_token_from_a_clock_slightly_ahead_is_accepted(
    tokens: JoseTokens, token: str
) -> None:
    assert await tokens.verify(token, ISSUED_AT - LEEWAY) == CLAIMS
    assert await refuses(tokens, token, ISSUED_AT - LEEWAY - timedelta(microseconds=1))


@pytest.mark.parametrize("expires_after", [0, -1])
async def test_the_leeway_does_not_allow_an_expiry_before_the_issue(
    tokens: JoseTokens, token: str, expires_after: int
) -> None:
    ahead = with_claim(token, "iat", str(IAT + 3))

    assert await refuses(tokens, with_claim(ahead, "exp", str(IAT + 3 + expires_after)))
    await tokens.verify(with_claim(ahead, "exp", str(IAT + 4)), NOW)


async def test_the_leeway_does_not_extend_the_expiry(tokens: JoseTokens, token: str) -> None:
    assert await tokens.verify(token, CLAIMS.expires_at - timedelta(microseconds=1)) == CLAIMS
    assert await refuses(tokens, token, CLAIMS.expires_at)


# --- Remembered signatures ---


async def test_a_remembered_signature_does_not_outlive_the_token(
    tokens: JoseTokens, token: str
) -> None:
    for _ in range(2):
        assert await tokens.verify(token, CLAIMS.expires_at - SECOND) == CLAIMS

    assert await refuses(tokens, token, CLAIMS.expires_at)
    assert await refuses(tokens, token, ISSUED_AT - 2 * LEEWAY)


async def test_a_remembered_signature_is_not_valid_for_another_payload(
    tokens: JoseTokens, token: str
) -> None:
    await tokens.verify(token, NOW)
    header, payload, signature = token.split(".")
    other = encoded(decoded(payload).replace(b'"sub":"7"', b'"sub":"1"'))

    assert await refuses(tokens, f"{header}.{other}.{signature}")


async def test_a_remembered_signature_belongs_to_one_verifier(
    tokens: JoseTokens, token: str
) -> None:
    await tokens.verify(token, NOW)

    assert await refuses(jose(hs256_key(OTHER_SECRET)), token)


@pytest.mark.parametrize("remembered", [0, 1, 3])
async def test_a_bounded_number_of_signatures_is_remembered(remembered: int) -> None:
    tokens = jose(KEY, remembered=remembered)
    several = [await issued(tokens, CLAIMS) for _ in range(5)]

    for token in several * 2 + several[::-1]:
        assert await tokens.verify(token, NOW) == CLAIMS
        assert len(tokens._verified) <= remembered


async def test_the_least_recently_used_signature_is_forgotten_first() -> None:
    tokens = jose(KEY, remembered=2)
    first, second, third = [await issued(tokens, CLAIMS) for _ in range(3)]

    for token in (first, second, first, third):
        await tokens.verify(token, NOW)

    remembered = [token for token in (first, second, third) if tokens._verified.get(token)]
    assert remembered == [first, third]


async def test_refused_tokens_are_not_remembered(tokens: JoseTokens, token: str) -> None:
    assert await refuses(tokens, token, CLAIMS.expires_at)
    assert await refuses(tokens, token[:-1])

    assert not tokens._verified


async def test_an_expired_token_is_forgotten(tokens: JoseTokens, token: str) -> None:
    await tokens.verify(token, NOW)
    assert await refuses(tokens, token, CLAIMS.expires_at)

    assert not tokens._verified


# --- Keys ---


async def test_the_last_key_signs_and_all_keys_verify(tokens: JoseTokens, token: str) -> None:
    newer = hs256_key(OTHER_SECRET)
    both = jose(KEY, newer)
    new_token = await issued(both, CLAIMS)

    assert json.loads(opened(new_token)[0])["kid"] == newer.kid
    assert await both.verify(token, NOW) == await both.verify(new_token, NOW) == CLAIMS
    # Retired: the older key is gone, and its tokens with it.
    assert await refuses(jose(newer), token)
    assert await jose(newer).verify(new_token, NOW) == CLAIMS


async def test_a_key_does_not_verify_under_the_kid_of_another(token: str) -> None:
    tokens = jose(KEY, hs256_key(OTHER_SECRET))
    header, payload = opened(token)
    other_name = header.decode().replace(KEY.kid, hs256_key(OTHER_SECRET).kid)

    assert await refuses(tokens, signed(other_name.encode(), payload))


@pytest.mark.parametrize("keys", [[], [KEY, KEY]], ids=["no key", "the same key twice"])
def test_a_senseless_set_of_keys_is_refused(keys: list[SigningKey]) -> None:
    with pytest.raises(UnfitKey):
        jose(*keys)


def test_the_kid_of_a_secret_is_stable_and_hides_it() -> None:
    assert hs256_key(SECRET).kid == KEY.kid
    assert hs256_key(OTHER_SECRET).kid != KEY.kid
    # No plain digest of the secret, that tables of likely secrets could be searched for.
    for name in hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}:
        assert not hashlib.new(name, SECRET).digest().startswith(decoded(KEY.kid)[:4])


def test_reprs_of_keys_and_tokens_hide_secrets() -> None:
    jwk = new_jwk("ES256")
    shown = "".join(f"{x!r}{x}" for x in (KEY, jwk_key(jwk), jose(KEY, jwk_key(jwk))))

    for secret in (str(SECRET), repr(SECRET), SECRET.hex(), encoded(SECRET), jwk["d"]):
        assert secret not in shown


WEAK = {
    "empty": b"",
    "short": secrets.token_bytes(31),
    "NULs": bytes(32),
    "one letter": b"a" * 64,
    "spaces": b" " * 40,
    "few letters, far apart": b"a!7zza7!!z7aa!z7z!a7!az77a!zz!7aa7!z",
    "few letters": b"abcabdacbbcadbcabdcabcadbacbdabcabdbcad",
    "a word repeated": b"wordword" * 8,
    "ten digits repeated": b"0123456789" * 7,
    "the alphabet": b"abcdefghijklmnopqrstuvwxyz0123456789",
    "bytes counted up": bytes(range(64)),
    "FastAPI's tutorial": b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "FastAPI's tutorial in capitals": (
        b"09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7"
    ),
    "FastAPI's tutorial, quoted": (
        b'"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"\n'
    ),
    "jwt.io's": b"a-string-secret-at-least-256-bits-long",
    "jwt.io's former, padded": b"your-256-bit-secret" + b"0" * 13,
    "jwt.io's former, padded further": b"your-256-bit-secret".ljust(64, b"\0"),
    "jwt.io's former, twice": b"your-256-bit-secretyour-256-bit-secret",
    "RFC 7515's": (
        b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    ),
    "a placeholder, hardly padded": b"changeme-changeme-changeme" + b"q7!bX2%dR9*fW",
    "secret, padded": b"secret".ljust(32, b"!"),
    "secret, repeated": b"secret" * 6,
    "changeme, repeated": b"changeme" * 4,
    "changeme, please": b"changeme-please-changeme-please-changeme",
    "change me": b"CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME",
    "a placeholder": b"please-change-this-super-secret-jwt-token-key",
    "another placeholder": b"your-super-secret-jwt-key-change-this-in-production",
}


@pytest.mark.parametrize("secret", WEAK.values(), ids=WEAK.keys())
def test_a_weak_secret_is_refused_and_not_repeated(secret: bytes) -> None:
    with pytest.raises(UnfitKey) as refusal:
        hs256_key(secret)

    assert str(refusal.value) == f"The secret is {weakness(secret)}"
    if secret:
        assert secret.decode("latin-1") not in str(refusal.value)
        assert repr(secret) not in str(refusal.value)


@pytest.mark.parametrize("read", [bytes, bytes.hex, encoded], ids=["raw", "hex", "base64url"])
def test_random_secrets_are_strong_enough(read: Callable[[bytes], bytes | str]) -> None:
    for _ in range(2000):
        secret = read(secrets.token_bytes(32))
        assert weakness(secret if isinstance(secret, bytes) else secret.encode()) is None


def test_an_asymmetric_key_is_not_accepted_as_a_secret() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(UnfitKey, match="asymmetric"):
        hs256_key(pem(private.public_key()))


def test_the_start_fails_without_the_cryptography_package() -> None:
    # python-jose would go on with other code, which is slower and not constant in time.
    program = "import sys; sys.modules['cryptography'] = None; import infrastructure.tokens.jose"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "ModuleNotFoundError" in ended.stderr
    assert "cryptography" in ended.stderr


# --- Asymmetric keys ---

JWKS = {algorithm: new_jwk(algorithm) for algorithm in ("RS256", "ES256")}
PUBLIC_MEMBERS = {
    "RS256": {"kty", "n", "e", "alg", "kid", "use"},
    "ES256": {"kty", "crv", "x", "y", "alg", "kid", "use"},
}

asymmetric = pytest.mark.parametrize("algorithm", JWKS)


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def rsa_public(jwk: dict[str, str]) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()


def ec_public(jwk: dict[str, str]) -> ec.EllipticCurvePublicKey:
    numbers = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1())
    return numbers.public_key()


async def test_other_libraries_verify_rs256_with_the_public_key() -> None:
    tokens = jose(jwk_key(JWKS["RS256"]))
    message, _, signature = (await issued(tokens, CLAIMS)).rpartition(".")

    rsa_public(dict(tokens.public_keys[0])).verify(
        decoded(signature), message.encode(), padding.PKCS1v15(), hashes.SHA256()
    )


async def test_other_libraries_verify_es256_with_the_public_key() -> None:
    tokens = jose(jwk_key(JWKS["ES256"]))
    public = ec_public(dict(tokens.public_keys[0]))

    for _ in range(20):  # Half of all signatures are turned into their twin.
        message, _, signature = (await issued(tokens, CLAIMS)).rpartition(".")
        raw = decoded(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        public.verify(encode_dss_signature(r, s), message.encode(), ec.ECDSA(hashes.SHA256()))


async def test_the_twin_of_an_es256_signature_is_refused() -> None:
    # (r, -s) is a valid signature whenever (r, s) is.
    tokens = jose(jwk_key(JWKS["ES256"]))
    message, _, signature = (await issued(tokens, CLAIMS)).rpartition(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = decoded(signature)
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    r, s = int.from_bytes(twin[:32], "big"), int.from_bytes(twin[32:], "big")
    ec_public(JWKS["ES256"]).verify(
        encode_dss_signature(r, s), message.encode(), ec.ECDSA(hashes.SHA256())
    )

    assert await refuses(tokens, f"{message}.{encoded(twin)}")


@pytest.mark.parametrize(
    "signature",
    [bytes(64), bytes(63) + b"\1", b"", b"\xff" * 64, bytes(65)],
    ids=["zeros", "r zero", "empty", "beyond the order", "too long"],
)
async def test_a_degenerate_es256_signature_is_refused(signature: bytes) -> None:
    tokens = jose(jwk_key(JWKS["ES256"]))
    header, payload = opened(await issued(tokens, CLAIMS))

    assert await refuses(tokens, signed(header, payload, lambda message: signature))


async def test_an_es256_signature_in_der_is_refused() -> None:
    tokens = jose(jwk_key(JWKS["ES256"]))
    message, _, signature = (await issued(tokens, CLAIMS)).rpartition(".")
    raw = decoded(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    assert decode_dss_signature(der)
    assert await refuses(tokens, f"{message}.{encoded(der)}")


@asymmetric
async def test_a_public_key_used_as_an_hmac_secret_signs_nothing(algorithm: str) -> None:
    # The classic confusion: what is public would be a secret if `alg` decided (RFC 8725, 2.1).
    key = jwk_key(JWKS[algorithm])
    tokens = jose(KEY, key)
    header, payload = opened(await issued(tokens, CLAIMS))
    jwk = JWKS[algorithm]
    public = pem(rsa_public(jwk) if algorithm == "RS256" else ec_public(jwk))
    told = json.dumps(tokens.public_keys[0]).encode()

    for secret in (public, public.strip(), told, b""):
        for claimed in (header, header.replace(algorithm.encode(), b"HS256"), opened_header(KEY)):

            def sign(message: bytes, secret: bytes = secret) -> bytes:
                return hmac.digest(secret, message, "sha256")

            assert await refuses(tokens, signed(claimed, payload, sign))


async def test_keys_of_several_algorithms_can_be_combined() -> None:
    keys = [KEY, *(jwk_key(jwk) for jwk in JWKS.values())]
    every = jose(*keys)

    for key in keys:
        assert await every.verify(await issued(jose(key), CLAIMS), NOW) == CLAIMS


@asymmetric
def test_only_public_parts_are_published(algorithm: str) -> None:
    key = jwk_key(JWKS[algorithm])

    (published,) = jose(KEY, key).public_keys

    assert set(published) == PUBLIC_MEMBERS[algorithm]
    assert (published["kid"], published["alg"], published["use"]) == (key.kid, algorithm, "sig")
    assert json.loads(json.dumps(published)) == published


def test_symmetric_keys_are_not_published() -> None:
    assert jose(KEY).public_keys == []


@asymmetric
def test_a_key_without_a_kid_is_named_by_its_thumbprint(algorithm: str) -> None:
    jwk = JWKS[algorithm]
    names = {"RS256": ("e", "kty", "n"), "ES256": ("crv", "kty", "x", "y")}[algorithm]
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"))

    key = jwk_key({name: value for name, value in jwk.items() if name != "kid"})

    assert key.kid == encoded(hashlib.sha256(text.encode()).digest())


@asymmetric
async def test_tokens_name_the_own_kid_of_their_key(algorithm: str) -> None:
    key = jwk_key({**JWKS[algorithm], "kid": "2026 ü"})
    tokens = jose(key)

    token = await issued(tokens, CLAIMS)

    assert json.loads(opened(token)[0])["kid"] == "2026 ü"
    assert await tokens.verify(token, NOW) == CLAIMS
    assert [jwk["kid"] for jwk in tokens.public_keys] == ["2026 ü"]


def rsa_jwk(bits: int) -> dict[str, str]:
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    members = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d}
    return {"kty": "RSA"} | {
        name: encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        for name, value in members.items()
    }


def ec_jwk(curve: ec.EllipticCurve, name: str) -> dict[str, str]:
    numbers = ec.generate_private_key(curve).private_numbers()
    size = (curve.key_size + 7) // 8
    public = numbers.public_numbers
    members = {"x": public.x, "y": public.y, "d": numbers.private_value}
    return {"kty": "EC", "crv": name} | {
        member: encoded(value.to_bytes(size, "big")) for member, value in members.items()
    }


def without(jwk: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in jwk.items() if name not in names}


RSA_PRIVATE = ("d", "p", "q", "dp", "dq", "qi")
UNFIT: dict[str, object] = {
    "RSA of 1024 bits": rsa_jwk(1024),
    "RSA of 2040 bits": rsa_jwk(2040),
    "P-384": ec_jwk(ec.SECP384R1(), "P-384"),
    "P-521": ec_jwk(ec.SECP521R1(), "P-521"),
    "an unknown curve": ec_jwk(ec.SECP256K1(), "secp256k1"),
    "a curve of another name": ec_jwk(ec.SECP256K1(), "P-256"),
    "RSA, public": without(JWKS["RS256"], *RSA_PRIVATE),
    "EC, public": without(JWKS["ES256"], "d"),
    "EC with the d of another": {**JWKS["ES256"], "d": new_jwk("ES256")["d"]},
    "RSA with the d of another": {**JWKS["RS256"], "d": new_jwk("RS256")["d"]},
    "RSA with some factors": without(JWKS["RS256"], "qi"),
    "EC without x": without(JWKS["ES256"], "x"),
    "RSA without n": without(JWKS["RS256"], "n"),
    "symmetric": {"kty": "oct", "k": encoded(SECRET)},
    "no kty": without(JWKS["ES256"], "kty"),
    "another alg": {**JWKS["RS256"], "alg": "PS256"},
    "the alg of another kind": {**JWKS["RS256"], "alg": "ES256"},
    "for encryption": {**JWKS["ES256"], "use": "enc"},
    "numbers for texts": {**JWKS["ES256"], "d": 7},
    "not base64": {**JWKS["ES256"], "d": "\ud800"},
    "empty": {},
    "null": None,
    "a list": [JWKS["ES256"]],
}


@pytest.mark.parametrize("jwk", UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_key_is_refused_and_not_repeated(jwk: object) -> None:
    with pytest.raises(UnfitKey) as refusal:
        jwk_key(jwk)  # type: ignore[arg-type]

    assert refusal.value.__cause__ is refusal.value.__context__ is None
    if isinstance(jwk, dict) and "d" in jwk:
        assert f"{jwk['d']}" not in f"{refusal.value}".replace("2048", "")


async def test_an_rsa_key_without_its_factors_is_accepted() -> None:
    tokens = jose(jwk_key(rsa_jwk(2048)))

    token = await issued(tokens, CLAIMS)

    assert await tokens.verify(token, NOW) == CLAIMS
    assert len(token) < 1024
