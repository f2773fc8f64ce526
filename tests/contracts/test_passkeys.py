"""The contract of passkeys: the steps of Web Authentication Level 3, sections 7.1 and 7.2.

Those that need storage (used challenges, unknown credentials, counters, user handles) are tested
with the service and the rules. Here each row is a flaw that one step refuses.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from secrets import token_bytes
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from application.ports.passkeys import Passkeys
from domain.passkeys import (
    Assertion,
    Attestation,
    AuthenticatorState,
    BadPasskey,
    base64url,
)
from infrastructure.passkeys import RelyingParty, WebAuthnPasskeys, relying_party
from tests.authenticator import (
    EDDSA,
    ES256,
    LOCALHOST,
    RS256,
    Flaws,
    SoftwareAuthenticator,
    ec_key,
    new_key,
)
from tests.factories import UserFactory
from tests.fakes.clock import NOON
from tests.fakes.passkeys import FakePasskeys

ADAPTERS: dict[str, Callable[[], Passkeys]] = {
    "fake": FakePasskeys,
    "webauthn": lambda: WebAuthnPasskeys(RelyingParty("localhost", LOCALHOST)),
}
CHALLENGE = token_bytes(32)
HANDLE = token_bytes(32)
USER = UserFactory.build(email="anna@example.com")


@pytest.fixture(params=ADAPTERS)
def passkeys(request: pytest.FixtureRequest) -> Passkeys:
    return ADAPTERS[request.param]()


def creation(passkeys: Passkeys) -> Mapping[str, Any]:
    return passkeys.creation_options(CHALLENGE, USER, HANDLE, [])


async def enrolled(passkeys: Passkeys, authenticator: SoftwareAuthenticator) -> bytes:
    """The public key of the authenticator's credential, as a relying party has stored it."""
    attestation = authenticator.create(creation(passkeys))
    return (await passkeys.verify_attestation(attestation, CHALLENGE)).public_key


@pytest.mark.parametrize("form", ["none", "packed"])
@pytest.mark.parametrize("algorithm", [EDDSA, ES256, RS256])
async def test_what_an_authenticator_creates_and_signs_is_verified(
    passkeys: Passkeys, algorithm: int, form: str
) -> None:
    authenticator = SoftwareAuthenticator(algorithm=algorithm)
    attestation = authenticator.create(creation(passkeys), Flaws(format=form))

    credential = await passkeys.verify_attestation(attestation, CHALLENGE)
    assertion = authenticator.get(passkeys.request_options(CHALLENGE))
    state = await passkeys.verify_assertion(assertion, CHALLENGE, credential.public_key)

    assert credential.credential_id == authenticator.credential_id
    assert cbor2.loads(credential.public_key) == authenticator.cose_key(algorithm)
    assert credential.state == AuthenticatorState(
        sign_count=0, backup_eligible=True, backed_up=True
    )
    assert state == replace(credential.state, sign_count=1)
    for answer in (attestation, assertion):
        assert await passkeys.challenge_of(answer) == CHALLENGE


@pytest.mark.parametrize("backup", [(True, True), (True, False), (False, False)])
async def test_backup_flags_are_reported(passkeys: Passkeys, backup: tuple[bool, bool]) -> None:
    authenticator = SoftwareAuthenticator(counts=False)
    flaws = Flaws(backup=backup)
    created = authenticator.create(creation(passkeys), flaws)

    credential = await passkeys.verify_attestation(created, CHALLENGE)
    signed = authenticator.get(passkeys.request_options(CHALLENGE), flaws)
    state = await passkeys.verify_assertion(signed, CHALLENGE, credential.public_key)

    assert state == credential.state
    assert (state.backup_eligible, state.backed_up) == backup


def certificate_of(key: EllipticCurvePrivateKey) -> bytes:
    """A certificate of an attestation key (section 8.2.1), signed by itself."""
    names = {
        NameOID.COUNTRY_NAME: "AT",
        NameOID.ORGANIZATION_NAME: "Example",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Authenticator Attestation",
        NameOID.COMMON_NAME: "Example",
    }
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOON - timedelta(days=1))
        .not_valid_after(NOON + timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


ATTESTER = ec_key(SECP256R1())

IN_BOTH = {
    "another type": Flaws(type="webauthn.other"),
    "another challenge": Flaws(challenge=token_bytes(32)),
    "another origin": Flaws(origin="http://localhost:8001"),
    "the origin with another scheme": Flaws(origin="https://localhost:8000"),
    "an origin that begins alike": Flaws(origin="http://localhost:8000.example.com"),
    "a frame of another origin": Flaws(cross_origin=True),
    "a top page of another origin": Flaws(top_origin="https://example.com"),
    "another relying party": Flaws(rp_id="example.com"),
    "user not present": Flaws(is_present=False),
    "user not verified": Flaws(is_verified=False),
    "backed up, but not eligible": Flaws(backup=(False, True)),
    "bytes behind the authenticator data": Flaws(behind=b"\x00"),
}
AT_ENROLMENT = IN_BOTH | {
    "the type of a login": Flaws(type="webauthn.get"),
    "an algorithm that was not offered": Flaws(algorithm=-35),
    "an algorithm of another kind of key": Flaws(algorithm=RS256),
    "no credential": Flaws(without_credential=True),
    "another credential id": Flaws(credential_id=token_bytes(32)),
    "an attestation that was not asked for": Flaws(format="fido-u2f"),
    "an unknown attestation": Flaws(format="unheard-of"),
    "an attestation by another key": Flaws(format="packed", signs=new_key(ES256)),
    "an attestation with a certificate": Flaws(
        format="packed", signs=ATTESTER, certificate=certificate_of(ATTESTER)
    ),
    "no attestation, with a statement": Flaws(statement={"sig": b"x"}),
}
AT_LOGIN = IN_BOTH | {
    "the type of an enrolment": Flaws(type="webauthn.create"),
    "a signature by another key": Flaws(signs=new_key(ES256)),
    "a signature by another kind of key": Flaws(signs=new_key(RS256)),
    "a bogus signature": Flaws(signature=b"bogus"),
    "an empty signature": Flaws(signature=b""),
}


@pytest.mark.parametrize("flaws", AT_ENROLMENT.values(), ids=AT_ENROLMENT.keys())
async def test_a_new_credential_is_refused_for(passkeys: Passkeys, flaws: Flaws) -> None:
    attestation = SoftwareAuthenticator().create(creation(passkeys), flaws)

    with pytest.raises(BadPasskey):
        await passkeys.verify_attestation(attestation, CHALLENGE)


@pytest.mark.parametrize("flaws", AT_LOGIN.values(), ids=AT_LOGIN.keys())
async def test_a_login_is_refused_for(passkeys: Passkeys, flaws: Flaws) -> None:
    authenticator = SoftwareAuthenticator()
    public_key = await enrolled(passkeys, authenticator)
    assertion = authenticator.get(passkeys.request_options(CHALLENGE), flaws)

    with pytest.raises(BadPasskey):
        await passkeys.verify_assertion(assertion, CHALLENGE, public_key)


@pytest.mark.parametrize("name", ["client_data", "authenticator_data", "signature"])
async def test_a_login_is_refused_if_any_byte_of_it_was_changed(
    passkeys: Passkeys, name: str
) -> None:
    authenticator = SoftwareAuthenticator(algorithm=EDDSA)
    public_key = await enrolled(passkeys, authenticator)
    assertion = authenticator.get(passkeys.request_options(CHALLENGE))
    whole: bytes = getattr(assertion, name)

    for place in range(0, len(whole), 7):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        values = {name: changed}
        with pytest.raises(BadPasskey):
            await passkeys.verify_assertion(replace(assertion, **values), CHALLENGE, public_key)


UNFIT_KEYS = {
    "RSA of 1024 bits": (RS256, lambda: generate_private_key(65537, 1024)),
    "ES256 on another curve": (ES256, lambda: ec_key(SECP384R1())),
}


@pytest.mark.parametrize(("algorithm", "make"), UNFIT_KEYS.values(), ids=UNFIT_KEYS.keys())
async def test_an_unfit_key_is_refused(
    passkeys: Passkeys, algorithm: int, make: Callable[[], Any]
) -> None:
    authenticator = SoftwareAuthenticator(algorithm=algorithm)
    authenticator.key = make()

    with pytest.raises(BadPasskey):
        await passkeys.verify_attestation(authenticator.create(creation(passkeys)), CHALLENGE)


NONSENSE = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe{}",
    "no members": b"{}",
    "a challenge that is no text": json.dumps({"challenge": 1}).encode(),
    "a challenge with padding": json.dumps({"challenge": base64url(CHALLENGE) + "="}).encode(),
    "a challenge beyond ASCII": json.dumps({"challenge": "\ud800é"}).encode(),
    "deeply nested": b"[" * 100_000,
    "CBOR that announces 2**63 bytes": b"\x5b\x7f" + b"\xff" * 7,
    "deeply nested CBOR": b"\x81" * 10_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_refused(passkeys: Passkeys, nonsense: bytes) -> None:
    authenticator = SoftwareAuthenticator()
    public_key = await enrolled(passkeys, authenticator)
    created = authenticator.create(creation(passkeys))
    signed = authenticator.get(passkeys.request_options(CHALLENGE))
    attestations = [
        replace(created, client_data=nonsense),
        replace(created, attestation_object=nonsense),
    ]
    assertions = [
        replace(signed, client_data=nonsense),
        replace(signed, authenticator_data=nonsense),
        replace(signed, signature=nonsense),
    ]
    answers: list[Attestation | Assertion] = [attestations[0], assertions[0]]

    for attestation in attestations:
        with pytest.raises(BadPasskey):
            await passkeys.verify_attestation(attestation, CHALLENGE)
    for assertion in assertions:
        with pytest.raises(BadPasskey):
            await passkeys.verify_assertion(assertion, CHALLENGE, public_key)
    for answer in answers:
        with pytest.raises(BadPasskey):
            await passkeys.challenge_of(answer)


async def test_options_ask_for_a_verified_user_and_a_discoverable_credential(
    passkeys: Passkeys,
) -> None:
    creation = passkeys.creation_options(CHALLENGE, USER, HANDLE, [b"known"])
    request = passkeys.request_options(CHALLENGE)

    assert creation["attestation"] == "none"
    assert creation["pubKeyCredParams"] == [
        {"type": "public-key", "alg": each} for each in (EDDSA, ES256, RS256)
    ]
    assert creation["excludeCredentials"] == [{"type": "public-key", "id": base64url(b"known")}]
    selection: Any = creation["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    user: Any = creation["user"]
    assert (user["id"], user["name"]) == (base64url(HANDLE), "anna@example.com")
    assert (request["rpId"], request["userVerification"]) == ("localhost", "required")
    assert "allowCredentials" not in request
    for options in (creation, request):
        assert options["challenge"] == base64url(CHALLENGE)


# What only the adapter has

PARTIES = {
    "https://app.example.com": RelyingParty("app.example.com", "https://app.example.com"),
    "https://app.example.com:8443": RelyingParty("app.example.com", "https://app.example.com:8443"),
    "http://localhost:5173": RelyingParty("localhost", "http://localhost:5173"),
    "https://192.0.2.1": None,
    "https://[2001:db8::1]": None,
}


@pytest.mark.parametrize(("url", "party"), PARTIES.items())
def test_the_relying_party_is_the_host_of_the_site(url: str, party: RelyingParty | None) -> None:
    assert relying_party(url, in_production=True) == party


def test_without_a_site_it_is_localhost_in_development_alone() -> None:
    assert relying_party(None, in_production=True) is None
    party = relying_party(None, in_production=False)
    assert party is not None
    assert party.id == "localhost"
    for origin in ("http://localhost:8000", "http://localhost", "https://localhost:5173"):
        assert party.accepts(origin)
    for other in ("http://127.0.0.1:8000", "http://localhost.example.com", "http://[", "", None):
        assert not party.accepts(other)
