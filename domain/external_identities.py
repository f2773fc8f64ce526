"""Identities at an outside provider."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """A person as a trusted provider describes them (OpenID Connect Core 1.0, section 5.1)."""

    issuer: str
    subject: str
    """Identifies the person at this issuer; never reassigned."""
    verified_email: str | None
    """None also for an address that the provider does not call verified."""
    name: str | None
