"""Fields with secrets are hidden from `repr`, which ends up in logs and tracebacks."""

import dataclasses
import pkgutil
import re
from collections.abc import Iterator, Mapping
from importlib import import_module

import pytest
from pydantic import BaseModel
from sqlmodel import SQLModel

import api
import application
import domain
import infrastructure
import main
from api.app import create_app
from infrastructure.settings import Settings

PACKAGES = (domain, application, infrastructure, api)
SECRET = re.compile(r"password|token|secret|hash|pepper|jwk|code\b|key\b", re.IGNORECASE)

# Sound like secrets and are none.
HARMLESS = {
    "Hit.key",
    "IdempotencyRecord.key",  # a client's name for a request  # posts only
    "IdempotencyRecord.request_hash",  # of a post  # posts only
    "Job.key",  # the name of a regular job
    "NewJob.key",
    "KeptKey.key",  # hides its own
    "Ports.passwords",
    "Ports.password_policy",
    "Ports.tokens",
    "ProblemCode.code",
    "Purged.personal_tokens",
    "Purged.spent_refresh_tokens",  # how many
    "Services.personal_tokens",
    "TokenContext.tokens",  # how many
    "TokensView.token_type",
    "UseContext.passkey",  # hides its own
    "IntrospectionView.token_type",
    "TokenStatus.is_refresh_token",
    "_Change.key",  # the id of the row that it locks
    "User.tokens_valid_from",
    "Webhook.old_secret_until",  # when
    "Delivery.status_code",
    "DeliveryView.status_code",
}


def our_classes() -> Iterator[type]:
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" in module.name:
                continue
            for member in vars(import_module(module.name)).values():
                if not isinstance(member, type) or member.__module__ != module.name:
                    continue
                if not issubclass(member, SQLModel):  # a table: no row is ever such an object
                    yield member


def shown_fields(cls: type) -> Iterator[str]:
    """The fields of a dataclass or a model that its repr shows as they are."""
    if dataclasses.is_dataclass(cls):
        yield from (field.name for field in dataclasses.fields(cls) if field.repr)
    elif issubclass(cls, BaseModel) and not issubclass(cls, Settings):
        for name, field in cls.model_fields.items():
            if field.repr and "SecretStr" not in str(field.annotation):
                yield name


def test_no_field_that_sounds_like_a_secret_is_shown() -> None:
    shown = {
        f"{cls.__name__}.{name}"
        for cls in our_classes()
        for name in shown_fields(cls)
        if SECRET.search(name)
    }

    assert shown == HARMLESS


SECRETS = {
    "secret_key": "tZ4vQ9kX2mLw7RbN5sHj8DfG3yUc6EaP",
    "pepper": "a-pepper,another-pepper",
    "database_url": "postgresql://anna:database-password@localhost/gatepost",
    "smtp_url": "smtps://anna:mail-password@localhost",
    "redis_url": "redis://:limits-password@localhost",
}
HIDDEN = [SECRETS["secret_key"], "a-pepper", "another-pepper", "-password", "cursor-key"]


def parts_of(thing: object, seen: set[int]) -> Iterator[object]:
    """The thing and all that it is made of, as far as it is ours or a container."""
    if id(thing) in seen or isinstance(thing, (str, bytes, type)):
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        inner = list(thing.values())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inner = list(thing)
    elif type(thing).__module__.partition(".")[0] in {package.__name__ for package in PACKAGES}:
        yield thing
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        inner = [getattr(thing, name, None) for name in names]
    else:
        return
    for part in inner:
        yield from parts_of(part, seen)


@pytest.mark.parametrize("tokens", ["jose", "opaque"])
def test_reprs_of_ports_and_services_hide_secrets(tokens: str) -> None:
    settings = Settings(_env_file=None, tokens=tokens, **SECRETS)  # type: ignore[arg-type]
    ports = main.build_ports(settings, main.build_database(settings))
    app = create_app(ports, cursor_keys=[b"cursor-key"])

    parts = list(parts_of([settings, app.state.services, app.state.cursors], set()))

    assert {type(part).__name__ for part in parts} >= {
        "Settings", "BcryptPasswords", "SmtpMailer", "SharedLimits", "PostgresDatabase", "Cursors",
    }  # fmt: skip
    assert [part for part in parts if any(secret in repr(part) for secret in HIDDEN)] == []
