# mypy: disable-error-code="no-untyped-call"
"""Tokens of an outside provider: what it may say, and how often it is asked for its keys."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from application.ports.tokens import Claims, ExternalClaims
from domain.errors import Unavailable
from domain.external_identities import ExternalIdentity
from domain.sessions import InvalidToken, SessionId
from domain.users import UserId
from infrastructure.tokens.issuer import TOKEN_MAX, IssuerTokens
from infrastructure.tokens.provider_keys import AGAIN, STALE, ProviderKeys
from tests.fakes.clock import FakeClock
from tests.fakes.tokens import issued

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
IAT = int(NOW.timestamp())
ISSUER = "https://provider.test"
AUDIENCE = "gatepost"
SAID = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "iat": IAT, "exp": IAT + 600}
SECOND = timedelta(seconds=1)

AnyKey = RSAKey | ECKey | OKPKey


# Making an RSA key takes a tenth of a second: a few are enough for all tests.
@cache
def rsa_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


def signed(key: Any, said: Any, *, algorithm: str = "RS256", **header: Any) -> str:
    """A token by joserfc, which has nothing to do with python-jose."""
    protected = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"} | header
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return jws.serialize_compact(protected, payload, key, registry=registry)


class Provider:
    """The provider's two documents; `asked` counts the requests for its keys."""

    def __init__(self, *keys: AnyKey) -> None:
        self.keys: list[dict[str, Any]] = [dict(key.as_dict(private=False)) for key in keys]
        self.discovery: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.asked = 0
        self.down = False
        self.clock = FakeClock(NOW)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        if self.down:
            raise httpx.ConnectError("down")
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self.discovery)
        self.asked += 1
        return httpx.Response(200, json={"keys": self.keys})

    def tokens(
        self,
        jwks_url: str | None = None,
        *,
        issuer: str = ISSUER,
        remembered: int = 100,
        email_verified_as_text: bool = False,
    ) -> IssuerTokens:
        return IssuerTokens(
            issuer=issuer,
            audience=AUDIENCE,
            keys=ProviderKeys(
                issuer=issuer,
                jwks_url=jwks_url,
                https_only=True,
                clock=self.clock,
                transport=httpx.MockTransport(self),
            ),
            remembered=remembered,
            email_verified_as_text=email_verified_as_text,
        )


@pytest.fixture
def key() -> RSAKey:
    return rsa_key("a")


@pytest.fixture
def provider(key: RSAKey) -> Provider:
    return Provider(key)


@pytest.fixture
def tokens(provider: Provider) -> IssuerTokens:
    return provider.tokens()


async def refuses(tokens: IssuerTokens, token: str, now: datetime = NOW) -> bool:
    with pytest.raises(InvalidToken) as refusal:
        await tokens.verify(token, now)
    return str(refusal.value) == InvalidToken.detail


async def test_a_token_has_the_identity_and_the_expiry(tokens: IssuerTokens, key: RSAKey) -> None:
    said = SAID | {"email": "anna@example.com", "email_verified": True, "name": "Anna"}

    assert await tokens.verify(signed(key, said), NOW) == ExternalClaims(
        identity=ExternalIdentity(
            issuer=ISSUER, subject="anna", verified_email="anna@example.com", name="Anna"
        ),
        issued_at=datetime.fromtimestamp(IAT, UTC),
        expires_at=datetime.fromtimestamp(IAT + 600, UTC),
    )


async def test_keys_may_come_from_a_configured_address(provider: Provider, key: RSAKey) -> None:
    provider.discovery = {}

    await provider.tokens(f"{ISSUER}/keys").verify(signed(key, SAID), NOW)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp"])
async def test_a_token_without_a_required_claim_is_refused(
    tokens: IssuerTokens, key: RSAKey, claim: str
) -> None:
    said = {name: value for name, value in SAID.items() if name != claim}

    assert await refuses(tokens, signed(key, said))


BAD_CLAIMS: dict[str, Any] = {
    "another issuer": {"iss": "https://evil.test"},
    "the issuer with a path": {"iss": ISSUER + "/x"},
    "the issuer with two slashes": {"iss": ISSUER + "//"},
    "several issuers": {"iss": [ISSUER]},
    "another audience": {"aud": "another"},
    "other audiences": {"aud": ["another", "gatepost2"]},
    "no audience": {"aud": []},
    "audience null": {"aud": None},
    "an audience that has ours in it": {"aud": "gatepost another"},
    "expired": {"exp": IAT},
    "exp null": {"exp": None},
    "exp a text": {"exp": str(IAT + 600)},
    "exp huge": {"exp": 10**30},
    "exp true": {"exp": True},
    "issued ahead": {"iat": IAT + 30},
    "not valid yet": {"nbf": IAT + 30},
    "nbf null": {"nbf": None},
    "an empty subject": {"sub": ""},
    "a number as subject": {"sub": 7},
    "a long subject": {"sub": "x" * 256},
    "NUL in the subject": {"sub": "a\0"},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
async def test_a_token_with_a_bad_claim_is_refused(
    tokens: IssuerTokens, key: RSAKey, changes: dict[str, Any]
) -> None:
    assert await refuses(tokens, signed(key, SAID | changes))


async def test_our_audience_may_be_one_of_several(tokens: IssuerTokens, key: RSAKey) -> None:
    await tokens.verify(signed(key, SAID | {"aud": ["another", AUDIENCE]}), NOW)


@pytest.mark.parametrize("verified", [False, None, 1, "absent"])
async def test_an_address_counts_only_if_the_provider_has_verified_it(
    tokens: IssuerTokens, key: RSAKey, verified: object
) -> None:
    said = SAID | {"email": "anna@example.com"}
    if verified != "absent":
        said |= {"email_verified": verified}

    claims = await tokens.verify(signed(key, said), NOW)

    assert claims.identity.verified_email is None


HEADERS: dict[str, dict[str, Any]] = {
    "another algorithm": {"alg": "RS512"},
    "no algorithm": {"alg": "none"},
    "a symmetric algorithm": {"alg": "HS256"},
    "an algorithm that is no text": {"alg": ["RS256"]},
    "algorithm null": {"alg": None},
    "crit": {"crit": ["exp"]},
    "b64": {"b64": False},
    "zip": {"zip": "DEF"},
    "another type": {"typ": "logout+jwt"},
    "a type that is no text": {"typ": 1},
    "no key's name": {"kid": None},
    "a list as key's name": {"kid": ["a"]},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_a_token_with_an_unknown_header_is_refused(
    provider: Provider, tokens: IssuerTokens, key: RSAKey, header: dict[str, Any]
) -> None:
    private = key.private_key
    assert private is not None
    good = signed(key, SAID)
    protected = {"alg": "RS256", "kid": "a", "typ": "at+jwt"} | header
    segment = urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    token = f"{segment}.{good.split('.')[1]}"
    signature = private.sign(token.encode(), PKCS1v15(), SHA256())
    token = f"{token}.{urlsafe_b64encode(signature).decode().rstrip('=')}"

    assert await refuses(tokens, token)


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS384", "PS512"])
async def test_other_algorithms_are_refused(
    tokens: IssuerTokens, key: RSAKey, algorithm: str
) -> None:
    assert await refuses(tokens, signed(key, SAID, algorithm=algorithm))


@pytest.mark.parametrize(("own", "other"), [("RS256", "PS256"), ("PS256", "RS256")])
async def test_a_key_verifies_only_by_the_algorithm_that_it_names(own: str, other: str) -> None:
    key = RSAKey.import_key({**rsa_key("a").as_dict(private=True), "alg": own})
    bare = RSAKey.import_key(rsa_key("a").as_dict(private=True))
    tokens = Provider(key).tokens()

    await tokens.verify(signed(key, SAID, algorithm=own), NOW)
    assert await refuses(tokens, signed(bare, SAID, algorithm=other))


async def test_the_public_key_is_not_accepted_as_an_hmac_secret(
    tokens: IssuerTokens, key: RSAKey
) -> None:
    _, payload, _ = signed(key, SAID).split(".")
    header = urlsafe_b64encode(b'{"alg":"HS256","kid":"a"}').decode().rstrip("=")
    digest = hmac.digest(key.as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    signature = urlsafe_b64encode(digest).decode().rstrip("=")

    assert await refuses(tokens, f"{header}.{payload}.{signature}")


async def test_another_key_of_the_same_name_does_not_verify(tokens: IssuerTokens) -> None:
    impostor = RSAKey.generate_key(2048, {"kid": "a"})

    assert await refuses(tokens, signed(impostor, SAID))


SIGNING: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa_key("a"),
    "PS256": lambda: rsa_key("a"),
    "ES256": lambda: ECKey.generate_key("P-256", {"kid": "e"}),
    "ES384": lambda: ECKey.generate_key("P-384", {"kid": "e"}),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519", {"kid": "e"}),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519", {"kid": "e"}),
}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc's signing, not our verifying
@pytest.mark.parametrize("algorithm", SIGNING)
async def test_a_provider_may_sign_with_each_algorithm_of_a_key_pair(algorithm: str) -> None:
    key = SIGNING[algorithm]()
    named = type(key).import_key({**key.as_dict(private=True), "alg": algorithm})

    for shown in (key, named):
        token = signed(shown, SAID, algorithm=algorithm)
        await Provider(shown).tokens().verify(token, NOW)
        assert await refuses(Provider(shown).tokens(), token[:-8] + "AAAAAAAA")


@pytest.mark.parametrize("spelled", [ISSUER, f"{ISSUER}/"])
@pytest.mark.parametrize("said", [ISSUER, f"{ISSUER}/"])
async def test_a_final_slash_of_the_issuer_is_ignored(key: RSAKey, spelled: str, said: str) -> None:
    provider = Provider(key)
    provider.discovery["issuer"] = said

    claims = await provider.tokens(issuer=spelled).verify(signed(key, SAID | {"iss": said}), NOW)

    # The provider's spelling, so that its users stay the same when the setting is spelled anew.
    assert claims.identity.issuer == said


@pytest.mark.parametrize("trusted", [True, False])
async def test_email_verified_as_text_counts_if_a_setting_allows_it(
    provider: Provider, key: RSAKey, trusted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = provider.tokens(email_verified_as_text=trusted)
    said = SAID | {"email": "anna@example.com", "email_verified": "true"}

    claims = await tokens.verify(signed(key, said), NOW)

    assert claims.identity.verified_email == ("anna@example.com" if trusted else None)
    assert ("GATEPOST_EMAIL_VERIFIED_TEXT" in caplog.text) is not trusted
    assert "anna" not in caplog.text


@pytest.mark.parametrize("verified", ["True", "false", "1", "", "yes"])
async def test_no_other_text_counts_as_verified(
    provider: Provider, key: RSAKey, verified: str
) -> None:
    said = SAID | {"email": "anna@example.com", "email_verified": verified}

    claims = await provider.tokens(email_verified_as_text=True).verify(signed(key, said), NOW)

    assert claims.identity.verified_email is None


REASONS: dict[str, dict[str, Any]] = {
    "iat is not in whole seconds": {"iat": IAT + 0.5},
    "exp is not in whole seconds": {"exp": IAT + 600.25},
    "nbf is not a time": {"nbf": "now"},
    "iss is not ISSUER": {"iss": "https://evil.test"},
    "aud does not name AUDIENCE": {"aud": "hunter2"},
    "sub is not a string": {"sub": 7},
}


@pytest.mark.parametrize("reason", REASONS)
async def test_the_reason_for_refusing_a_signed_token_is_logged(
    tokens: IssuerTokens, key: RSAKey, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await refuses(tokens, signed(key, SAID | REASONS[reason]))

    assert f"A token of {ISSUER} was refused: {reason}" in caplog.text
    assert "hunter2" not in caplog.text


async def test_refusing_an_unsigned_token_is_not_logged(
    tokens: IssuerTokens, key: RSAKey, caplog: pytest.LogCaptureFixture
) -> None:
    impostor = RSAKey.generate_key(2048, {"kid": "a"})

    assert await refuses(tokens, signed(impostor, SAID | {"iat": 0.5}))

    assert caplog.text == ""


UNFIT: dict[str, Callable[[], Any]] = {
    "a weak key": lambda: RSAKey.generate_key(1024, {"kid": "b"}, auto_kid=False),
    "for encryption": lambda: RSAKey.generate_key(2048, {"kid": "b", "use": "enc"}),
    "for another algorithm": lambda: RSAKey.generate_key(2048, {"kid": "b", "alg": "PS256"}),
}


@pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
@pytest.mark.filterwarnings("ignore")  # joserfc's, of weak keys
async def test_an_unfit_key_is_skipped(key: RSAKey, make: Callable[[], Any]) -> None:
    unfit = make()
    provider = Provider(key)
    provider.keys += [{}, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, {"kty": "RSA", "kid": "x"}]
    provider.keys.append(dict(unfit.as_dict(private=False)))
    tokens = provider.tokens()

    await tokens.verify(signed(key, SAID), NOW)
    bare = RSAKey.import_key(
        {k: v for k, v in unfit.as_dict(private=True).items() if k not in ("use", "alg")}
    )
    assert await refuses(tokens, signed(bare, SAID))


async def test_keys_are_fetched_once(provider: Provider, tokens: IssuerTokens, key: RSAKey) -> None:
    for _ in range(3):
        await asyncio.gather(*(tokens.verify(signed(key, SAID), NOW) for _ in range(10)))

    assert provider.asked == 1


async def test_garbage_causes_no_fetch(provider: Provider, tokens: IssuerTokens) -> None:
    for garbage in ("", "x", "a.b.c", "é.é.é", "." * 5000, "a" * 10_000_000, "\ud800.a.b"):
        assert await refuses(tokens, garbage)

    assert provider.asked == 0


async def test_a_token_that_is_too_long_is_refused(tokens: IssuerTokens, key: RSAKey) -> None:
    assert await refuses(tokens, signed(key, SAID | {"x": "x" * TOKEN_MAX}))


async def test_a_token_with_a_new_key_causes_a_fetch(
    provider: Provider, tokens: IssuerTokens, key: RSAKey
) -> None:
    await tokens.verify(signed(key, SAID), NOW)
    new = rsa_key("b")
    provider.keys.append(dict(new.as_dict(private=False)))

    later = provider.clock.now = NOW + AGAIN
    await asyncio.gather(*(tokens.verify(signed(new, SAID), later) for _ in range(10)))

    assert provider.asked == 2


async def test_unknown_keys_cause_one_fetch_a_minute(
    provider: Provider, tokens: IssuerTokens, key: RSAKey
) -> None:
    await tokens.verify(signed(key, SAID), NOW)
    unknown = [signed(replace_kid(key, f"unknown {n}"), SAID) for n in range(20)]

    for second in (1, 30, 59):
        at = provider.clock.now = NOW + second * SECOND
        assert all(await asyncio.gather(*(refuses(tokens, token, at) for token in unknown)))
    assert provider.asked == 1

    at = provider.clock.now = NOW + AGAIN
    assert all(await asyncio.gather(*(refuses(tokens, token, at) for token in unknown)))
    assert provider.asked == 2


def replace_kid(key: RSAKey, kid: str) -> RSAKey:
    return RSAKey.import_key({**key.as_dict(private=True), "kid": kid})


async def test_fetched_keys_are_used_while_the_provider_is_down(
    provider: Provider, tokens: IssuerTokens, key: RSAKey
) -> None:
    await tokens.verify(signed(key, SAID), NOW)
    provider.down = True
    later = provider.clock.now = NOW + STALE + SECOND
    said = SAID | {"iat": IAT + 3600, "exp": IAT + 7200}

    for _ in range(3):
        await tokens.verify(signed(key, said), later)
        await asyncio.sleep(0.03)
    assert await refuses(tokens, signed(rsa_key("b"), said), later)


async def test_without_any_key_the_service_is_unavailable(
    provider: Provider, tokens: IssuerTokens, key: RSAKey
) -> None:
    provider.down = True
    with pytest.raises(Unavailable):
        await tokens.verify(signed(key, SAID), NOW)

    provider.down = False
    provider.clock.advance(SECOND)
    await tokens.verify(signed(key, SAID), NOW + SECOND)


@pytest.mark.parametrize(
    "discovery",
    [{}, {"issuer": "https://evil.test", "jwks_uri": f"{ISSUER}/keys"}, {"issuer": ISSUER}],
)
async def test_a_discovery_document_of_another_issuer_is_refused(
    provider: Provider, tokens: IssuerTokens, key: RSAKey, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery

    with pytest.raises(Unavailable):
        await tokens.verify(signed(key, SAID), NOW)
    assert provider.asked == 0


async def test_a_withdrawn_key_is_refused_within_the_hour_by_a_background_fetch(
    provider: Provider, tokens: IssuerTokens, key: RSAKey
) -> None:
    await tokens.verify(signed(key, SAID), NOW)
    provider.keys = [dict(rsa_key("b").as_dict(private=False))]
    later = provider.clock.now = NOW + STALE
    token = signed(key, SAID | {"exp": IAT + 7200})

    await asyncio.gather(*(tokens.verify(token, later) for _ in range(10)))
    await asyncio.sleep(0.1)

    assert provider.asked == 2
    assert await refuses(tokens, token, later)


async def test_a_remembered_signature_does_not_outlive_the_token(
    tokens: IssuerTokens, key: RSAKey
) -> None:
    token = signed(key, SAID)
    for _ in range(2):
        await tokens.verify(token, NOW)

    assert await refuses(tokens, token, NOW + timedelta(seconds=600))
    assert len(tokens._verified) == 0


async def test_a_bounded_number_of_valid_signatures_is_remembered(
    provider: Provider, key: RSAKey
) -> None:
    tokens = provider.tokens(remembered=3)
    for number in range(5):
        await tokens.verify(signed(key, SAID | {"jti": str(number)}), NOW)
        assert await refuses(tokens, signed(key, SAID | {"aud": str(number)}))

    assert len(tokens._verified) == 3


async def test_no_tokens_are_issued(tokens: IssuerTokens) -> None:
    claims = Claims(user_id=UserId(7), session_id=SessionId(41), issued_at=NOW, expires_at=NOW)

    with pytest.raises(NotImplementedError):
        await issued(tokens, claims)
