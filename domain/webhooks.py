"""Webhooks: who is told of which events, the addresses that may be told, and the signatures.

Deliveries follow Standard Webhooks 1.0.
"""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType

from domain.errors import NotFound, RuleBroken
from domain.events import Happened

WebhookId = NewType("WebhookId", int)
DeliveryId = NewType("DeliveryId", int)

RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The pause after each failed attempt but the last."""

ATTEMPTS_MAX = len(RETRIES) + 1
OLD_SECRET_LIFE = timedelta(hours=24)
"""How long the secret before signs as well."""
DELIVERY_DAYS = 30
"""Days that deliveries are kept."""
TEST = "webhook_test"
"""The type of a delivery that somebody asked for to try a webhook."""
GONE = 410

_PREFIX = "whsec_"


class WebhookNotFound(NotFound):
    def __init__(self, webhook_id: WebhookId) -> None:
        super().__init__(f"There is no webhook {webhook_id}")


class DeliveryNotFound(NotFound):
    def __init__(self, delivery_id: DeliveryId) -> None:
        super().__init__(f"The webhook has no delivery {delivery_id}")


class BadWebhookUrl(RuleBroken):
    detail = "The url must be an absolute http or https URL in ASCII, without a user or a fragment"


class HttpsRequired(RuleBroken):
    detail = "The url must be https"


class NotAPublicAddress(RuleBroken):
    detail = "An address of the host is not public"


class UnresolvableHost(RuleBroken):
    detail = "The name of the host does not resolve"


class EventName(StrEnum):
    """What a webhook can be told of: the names of the events in the audit."""

    ANY = "*"
    ADDRESS_CHANGE_REQUESTED = "address_change_requested"
    ADDRESS_CHANGE_UNDONE = "address_change_undone"
    ADDRESS_CHANGED = "address_changed"
    ADDRESS_VERIFIED = "address_verified"
    EMAIL_CHANGE_UNDO_REQUESTED = "email_change_undo_requested"
    FACTORS_REMOVED = "factors_removed"
    LIMIT_REACHED = "limit_reached"
    LOGGED_IN = "logged_in"
    LOGGED_OUT = "logged_out"
    LOGIN_FAILED = "login_failed"
    NEW_NETWORK_SEEN = "new_network_seen"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  no password
    PASSWORD_RESET = "password_reset"  # noqa: S105  no password
    PASSWORD_RESET_REQUESTED = "password_reset_requested"  # noqa: S105  no password
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_REMOVED = "passkey_removed"
    PASSKEY_RENAMED = "passkey_renamed"
    POST_DELETED = "post_deleted"  # posts only
    POST_EDITED = "post_edited"  # posts only
    POST_WRITTEN = "post_written"  # posts only
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105  no token
    ROLE_CHANGED = "role_changed"
    SESSION_ENDED = "session_ended"
    SESSION_PROVED = "session_proved"
    SESSIONS_ENDED = "sessions_ended"
    TOKEN_DELETED = "token_deleted"  # noqa: S105  no token
    TOKEN_MADE = "token_made"  # noqa: S105  no token
    TOKENS_DELETED = "tokens_deleted"
    TOTP_ADDED = "totp_added"
    TOTP_REMOVED = "totp_removed"
    USER_DEACTIVATED = "user_deactivated"
    USER_DELETED = "user_deleted"
    USER_PROMOTED = "user_promoted"
    USER_REACTIVATED = "user_reactivated"
    USER_REGISTERED = "user_registered"
    USER_RENAMED = "user_renamed"
    VERIFICATION_REQUESTED = "verification_requested"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_SECRET_CHANGED = "webhook_secret_changed"  # noqa: S105  no secret
    WEBHOOK_SWITCHED_OFF = "webhook_switched_off"


@dataclass(slots=True, kw_only=True, eq=False)
class Webhook:
    id: WebhookId
    url: str
    events: tuple[EventName, ...]
    active: bool
    created_at: datetime
    sealed_secret: str = field(repr=False)
    sealed_old_secret: str | None = field(repr=False)
    old_secret_until: datetime | None

    def is_told_of(self, name: str) -> bool:
        return self.active and (EventName.ANY in self.events or name in self.events)

    def change_secret(self, sealed: str, now: datetime) -> None:
        """The secret before signs as well for `OLD_SECRET_LIFE`."""
        self.sealed_old_secret, self.sealed_secret = self.sealed_secret, sealed
        self.old_secret_until = now + OLD_SECRET_LIFE

    def sealed_secrets(self, now: datetime) -> list[str]:
        """The secrets that sign at `now`, the newest first."""
        if self.sealed_old_secret is None or self.old_secret_until is None:
            return [self.sealed_secret]
        return [self.sealed_secret] + [self.sealed_old_secret] * (now < self.old_secret_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    url: str
    events: tuple[EventName, ...]
    created_at: datetime

    def stored_as(self, id_: int) -> Webhook:
        """Without a secret, which is sealed for this id."""
        return Webhook(
            id=WebhookId(id_),
            url=self.url,
            events=self.events,
            active=True,
            created_at=self.created_at,
            sealed_secret="",
            sealed_old_secret=None,
            old_secret_until=None,
        )


class DeliveryStatus(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True, eq=False)
class Delivery:
    id: DeliveryId
    webhook_id: WebhookId
    message_id: str
    """The header `webhook-id`: the same at every attempt."""
    type: str
    body: str
    status: DeliveryStatus
    attempts: int
    status_code: int | None
    """Of the last answer."""
    created_at: datetime
    round: int
    """How often it was asked for again. A job of an earlier round does nothing."""

    def attempted(self, status_code: int | None, *, is_last: bool) -> None:
        """Note an attempt that was answered with `status_code`; None: with nothing."""
        self.attempts += 1
        self.status_code = status_code
        if status_code is not None and 200 <= status_code < 300:
            self.status = DeliveryStatus.DELIVERED
        elif is_last or status_code == GONE:
            self.status = DeliveryStatus.FAILED

    def ask_again(self) -> None:
        self.round += 1
        self.status = DeliveryStatus.WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    webhook_id: WebhookId
    message_id: str
    type: str
    body: str
    created_at: datetime

    def stored_as(self, id_: int) -> Delivery:
        return Delivery(
            id=DeliveryId(id_),
            webhook_id=self.webhook_id,
            message_id=self.message_id,
            type=self.type,
            body=self.body,
            status=DeliveryStatus.WAITING,
            attempts=0,
            status_code=None,
            created_at=self.created_at,
            round=0,
        )


def pause_after(attempts: int) -> timedelta:
    return RETRIES[min(attempts, len(RETRIES)) - 1]


def delivery_of(happened: Happened, webhook: Webhook) -> NewDelivery:
    """The message that tells `webhook` of an event: ids and names, and no e-mail address."""
    event = happened.event
    data = {
        "subject": event.subject,
        "actor_id": event.actor_id,
        "details": {k: v for k, v in event.details.items() if "@" not in str(v)},
    }
    return NewDelivery(
        webhook_id=webhook.id,
        message_id=f"msg_{happened.id}",
        type=event.name,
        body=message(event.name, event.at, data),
        created_at=event.at,
    )


def message(type_: str, at: datetime, data: Mapping[str, object]) -> str:
    """The body of a delivery, as JSON."""
    timestamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"type": type_, "timestamp": timestamp, "data": data}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def secret_text(raw: bytes) -> str:
    """A secret as it is shown: base64 with a prefix."""
    return _PREFIX + b64encode(raw).decode()


def signature(secret: str, message_id: str, at: datetime, body: str) -> str:
    """The signature `v1`: HMAC-SHA256 over id, seconds since 1970 and body, by a `secret_text`."""
    signed = f"{message_id}.{int(at.timestamp())}.{body}".encode()
    digest = hmac.digest(b64decode(secret.removeprefix(_PREFIX)), signed, sha256)
    return f"v1,{b64encode(digest).decode()}"


_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by providers (RFC 6598)
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the public internet.

    An IPv4-mapped address is as public as the IPv4 address in it. Addresses that carry one in
    another way (NAT64, 6to4, Teredo, IPv4-compatible) are not: the network decides where they lead.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        in_range = address in _GLOBAL_UNICAST_6 and address.scope_id is None
        return in_range and not any(address in network for network in _NOT_PUBLIC_6)
    return not any(address in network for network in _NOT_PUBLIC_4)
