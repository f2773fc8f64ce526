"""The ceremonies of WebAuthn by py_webauthn (Web Authentication Level 3, sections 7.1 and 7.2).

Only `infrastructure.passkeys` imports this module, when it is first needed. What a function here
raises means that the answer is refused: py_webauthn and cbor2 raise more than their own errors.
"""

from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_attestation_object,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    CredentialDeviceType,
    RegistrationCredential,
)

from domain.passkeys import (
    Assertion,
    Attestation,
    AuthenticatorState,
    BadPasskey,
    VerifiedCredential,
)

RSA_BITS = range(2048, 4097)
RSA_EXPONENT_MAX = 2**32
"""Verifying a signature of a longer key, or one with a larger exponent, takes milliseconds."""


def verify_attestation(
    attestation: Attestation,
    challenge: bytes,
    algorithms: Collection[int],
    *,
    rp_id: str,
    origin: str,
) -> VerifiedCredential:
    """The new credential.

    Accepts no attestation, or one by the credential's own key: clients send others only if the
    options ask for them (section 5.1.3).
    """
    parsed = parse_attestation_object(attestation.attestation_object)
    if parsed.fmt not in ("none", "packed") or parsed.att_stmt.x5c:
        raise BadPasskey
    found = verify_registration_response(
        credential=RegistrationCredential(
            id=bytes_to_base64url(attestation.credential_id),
            raw_id=attestation.credential_id,
            response=AuthenticatorAttestationResponse(
                client_data_json=attestation.client_data,
                attestation_object=attestation.attestation_object,
            ),
        ),
        expected_challenge=challenge,
        expected_rp_id=rp_id,
        expected_origin=origin,
        require_user_verification=True,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in algorithms],
    )
    if found.credential_id != attestation.credential_id or not _is_sound(
        found.credential_public_key
    ):
        raise BadPasskey
    return VerifiedCredential(
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        state=_state(found.sign_count, found.credential_device_type, found.credential_backed_up),
    )


def verify_assertion(
    assertion: Assertion, challenge: bytes, public_key: bytes, *, rp_id: str, origin: str
) -> AuthenticatorState:
    """What the authenticator says of the credential; the counter is not compared."""
    found = verify_authentication_response(
        credential=AuthenticationCredential(
            id=bytes_to_base64url(assertion.credential_id),
            raw_id=assertion.credential_id,
            response=AuthenticatorAssertionResponse(
                client_data_json=assertion.client_data,
                authenticator_data=assertion.authenticator_data,
                signature=assertion.signature,
            ),
        ),
        expected_challenge=challenge,
        expected_rp_id=rp_id,
        expected_origin=origin,
        credential_public_key=public_key,
        credential_current_sign_count=0,
        require_user_verification=True,
    )
    return _state(found.new_sign_count, found.credential_device_type, found.credential_backed_up)


def _state(
    sign_count: int, device_type: CredentialDeviceType, backed_up: bool
) -> AuthenticatorState:
    return AuthenticatorState(
        sign_count=sign_count,
        backup_eligible=device_type is CredentialDeviceType.MULTI_DEVICE,
        backed_up=backed_up,
    )


def _is_sound(public_key: bytes) -> bool:
    """Whether the key is strong, of the form of its algorithm (section 5.8.5), and cheap to verify
    with.
    """
    decoded = decode_credential_public_key(public_key)
    key = decoded_public_key_to_cryptography(decoded)
    if decoded.alg == COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256:
        return (
            isinstance(key, RSAPublicKey)
            and key.key_size in RSA_BITS
            and key.public_numbers().e < RSA_EXPONENT_MAX
        )
    if decoded.alg == COSEAlgorithmIdentifier.ECDSA_SHA_256:
        return isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    return isinstance(key, Ed25519PublicKey)
