# mypy: disable-error-code="no-untyped-call, import-untyped, misc"
"""An OpenID provider to run as a process of its own: Authlib's, on Flask.

It prints its address, and gives a token to everybody who comes by the password grant: `username` is
the claims that the token is to have, as JSON. `POST /rotate` makes another key, which signs from
then on; `POST /stop` ends it at once.
"""

import json
import os
import sys
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import ResourceOwnerPasswordCredentialsGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response, jsonify
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

AUDIENCE = "gatepost-tests"
LIFE = 600

app = Flask(__name__)
keys: list[RSAKey] = []


class Client(ClientMixin):
    def get_client_id(self) -> str:
        return "tests"

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == "secret"

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "password"

    def get_allowed_scope(self, scope: str) -> str:
        return scope or "openid"


class Person:
    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims

    def get_user_id(self) -> str:
        return str(self.claims["sub"])


class Password(ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def authenticate_user(self, username: str, password: str) -> Person:
        return Person(json.loads(username))


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self) -> KeySet:
        return KeySet([keys[-1]])

    def get_audiences(self, client: Client, user: Person, scope: str) -> list[str]:
        return [AUDIENCE, "another"]

    def get_extra_claims(
        self, client: Client, grant_type: str, user: Person, scope: str
    ) -> dict[str, Any]:
        return user.claims


def make_key() -> None:
    keys.append(RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True))


@app.get("/.well-known/openid-configuration")
def discovery() -> Response:
    return jsonify(issuer=issuer, jwks_uri=f"{issuer}/keys", token_endpoint=f"{issuer}/token")


@app.get("/keys")
def show_keys() -> Response:
    return jsonify(KeySet([*keys]).as_dict(private=False))


@app.post("/rotate")
def rotate() -> Response:
    make_key()
    return jsonify(keys[-1].kid)


@app.post("/stop")
def stop() -> Response:
    os._exit(0)


@app.post("/token")
def give_token() -> Any:
    return server.create_token_response()


if __name__ == "__main__":
    http = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    issuer = f"http://127.0.0.1:{http.server_port}"
    server = AuthorizationServer(app, lambda _: Client(), lambda *_: None)
    server.register_token_generator("default", Tokens(issuer, expires_generator=lambda *_: LIFE))
    server.register_grant(Password)
    make_key()
    sys.stdout.write(f"{issuer}\n")
    sys.stdout.flush()
    http.serve_forever()
