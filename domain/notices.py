"""Notices: mails that tell users of a change to their account, so that they notice a stranger's."""

from datetime import timedelta
from enum import StrEnum

NOTICE_LIFETIME = timedelta(days=3)
"""How long delivery of a notice is retried."""


class Notice(StrEnum):
    """The events that users get a notice of, by their names. A change of address has none: the mail
    that undoes it says so.
    """

    PASSWORD_CHANGED = "password_changed"  # noqa: S105  no password
    PASSWORD_RESET = "password_reset"  # noqa: S105
    ADDRESS_RESTORED = "address_change_undone"
    """A change of address was undone. Sent to the address that is replaced."""
    TOTP_ADDED = "totp_added"
    TOTP_REMOVED = "totp_removed"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    FACTORS_REMOVED = "factors_removed"
    """An admin removed all second factors and passkeys."""
    PASSKEY_ADDED = "passkey_added"
    PASSKEY_RENAMED = "passkey_renamed"
    PASSKEY_REMOVED = "passkey_removed"
    TOKEN_MADE = "token_made"  # noqa: S105
    """A personal token."""
    TOKEN_DELETED = "token_deleted"  # noqa: S105
    TOKENS_DELETED = "tokens_deleted"
    """An admin deleted all personal tokens."""
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105
    NEW_NETWORK = "new_network_seen"
    """A login from a network that the account was never used from."""
