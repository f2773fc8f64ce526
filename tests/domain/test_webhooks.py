"""Webhooks: names, addresses, signatures and the states of deliveries."""

import ast
import re
from base64 import b64encode
from datetime import timedelta
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from domain.events import Event, Happened
from domain.one_time_codes import Purpose
from domain.users import UserId
from domain.webhooks import (
    ATTEMPTS_MAX,
    OLD_SECRET_LIFE,
    DeliveryStatus,
    EventName,
    NewDelivery,
    NewWebhook,
    WebhookId,
    delivery_of,
    is_public,
    pause_after,
    secret_text,
    signature,
)
from tests.fakes.clock import NOON

ROOT = Path(__file__).parents[2]
RECORDS = re.compile(r"(^Event\.of|[._]record)$")


def recorded_names() -> set[str]:
    """The names in the calls of the application that record events, literals and constants."""
    names = {f"{purpose.value}_requested" for purpose in Purpose}
    for path in (ROOT / "application").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and RECORDS.search(ast.unparse(node.func)):
                for name in node.args[:1]:
                    if isinstance(name, ast.Name):
                        names.add(str(getattr(import_module(module), name.id, "")))
                    elif isinstance(name, ast.Constant):
                        names.add(str(name.value))
    return names - {""}


def test_a_webhook_can_be_told_of_every_event() -> None:
    missing = recorded_names() - set(EventName)

    assert not missing, "add these names to `domain.webhooks.EventName`"


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.169.0.1", "223.255.255.255"),
        *("2606:4700::1111", "2a00::1", "2001:4860:4860::8888", "::ffff:8.8.8.8"),
    ],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1"),
        *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1"),
        *("2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1", "fec0::1"),
        *("ff02::1", "2606:4700::1111%eth0"),
    ],
)
def test_any_other_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


def test_signatures_are_those_of_standard_webhooks() -> None:
    secret, body = secret_text(b"x" * 32), '{"type":"ünïcödé"}'

    ours = signature(secret, "msg_1", NOON, body)

    assert ours == Verifier(secret).sign("msg_1", NOON, body)
    # From the library's own documentation.
    known = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert signature(known, "msg_1", NOON, "") == Verifier(known).sign("msg_1", NOON, "")


def test_the_old_secret_signs_for_a_day() -> None:
    new = NewWebhook(url="https://example.com", events=(EventName.ANY,), created_at=NOON)
    webhook = new.stored_as(1)
    webhook.change_secret("first", NOON)
    webhook.change_secret("second", NOON)

    assert webhook.sealed_secrets(NOON + OLD_SECRET_LIFE - timedelta(seconds=1)) == [
        "second",
        "first",
    ]
    assert webhook.sealed_secrets(NOON + OLD_SECRET_LIFE) == ["second"]
    assert "second" not in repr(webhook)
    assert "first" not in repr(webhook)


@pytest.mark.parametrize(
    ("events", "active", "told"),
    [
        ((EventName.ANY,), True, True),
        ((EventName.USER_RENAMED,), True, True),
        ((EventName.ROLE_CHANGED,), True, False),
        ((EventName.ANY,), False, False),
    ],
)
def test_a_webhook_is_told_of_its_events(
    events: tuple[EventName, ...], active: bool, told: bool
) -> None:
    webhook = NewWebhook(url="https://example.com", events=events, created_at=NOON).stored_as(1)
    webhook.active = active

    assert webhook.is_told_of("user_renamed") is told


def test_a_message_has_ids_and_names_and_no_address() -> None:
    webhook = NewWebhook(
        url="https://example.com", events=(EventName.ANY,), created_at=NOON
    ).stored_as(7)
    event = Event.of(
        "role_changed", "user:3", actor_id=UserId(1), at=NOON, role="admin", email="a@example.com"
    )

    new = delivery_of(Happened(id="abc", event=event), webhook)

    assert (new.webhook_id, new.message_id, new.type) == (WebhookId(7), "msg_abc", "role_changed")
    assert new.body == (
        '{"type":"role_changed","timestamp":"2026-11-23T12:00:00.123Z",'
        '"data":{"subject":"user:3","actor_id":1,"details":{"role":"admin"}}}'
    )


@pytest.mark.parametrize(
    ("code", "is_last", "status"),
    [
        (200, False, DeliveryStatus.DELIVERED),
        (299, True, DeliveryStatus.DELIVERED),
        (199, False, DeliveryStatus.WAITING),
        (302, False, DeliveryStatus.WAITING),
        (500, False, DeliveryStatus.WAITING),
        (None, False, DeliveryStatus.WAITING),
        (500, True, DeliveryStatus.FAILED),
        (None, True, DeliveryStatus.FAILED),
        (410, False, DeliveryStatus.FAILED),
    ],
)
def test_what_an_answer_makes_of_a_delivery(
    code: int | None, is_last: bool, status: DeliveryStatus
) -> None:
    delivery = NewDelivery(
        webhook_id=WebhookId(1), message_id="msg_1", type="a", body="{}", created_at=NOON
    ).stored_as(1)

    delivery.attempted(code, is_last=is_last)

    assert (delivery.status, delivery.status_code, delivery.attempts) == (status, code, 1)
    delivery.ask_again()
    assert (delivery.status, delivery.round) == (DeliveryStatus.WAITING, 1)


def test_retries_take_three_days() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, ATTEMPTS_MAX)]

    assert pauses[0] == timedelta(seconds=5)
    assert pauses[-1] == timedelta(hours=24)
    assert sum(pauses, timedelta()) > timedelta(days=3)


def test_a_secret_is_base64() -> None:
    assert secret_text(b"\xff" * 32) == f"whsec_{b64encode(bytes([255] * 32)).decode()}"
