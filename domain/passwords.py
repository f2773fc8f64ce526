"""What a password must be (NIST SP 800-63B, section 3.1.1.2: length, no composition rules)."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from domain.errors import NotAllowed, RuleBroken

PASSWORD_MAX = 128
PASSWORD_INPUT_MAX = 4 * PASSWORD_MAX
"""Longest text that can be a password: NFKC never shortens a text to less than a quarter."""


class WeakPassword(RuleBroken):
    """`detail` says why; it never repeats the password."""


class WrongPassword(NotAllowed):
    detail = "The current password is another one"


def _never(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """The configurable part of the password rules."""

    minimum: int = 12
    """Minimum length in code points."""
    is_common: Callable[[str], bool] = _never
    """Whether a password is on a list of common passwords."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCandidate:
    """A new password, with everything that a rule may compare it with."""

    password: str = field(repr=False)
    email: str
    policy: PasswordPolicy = PasswordPolicy()


PasswordRule = Callable[[PasswordCandidate], None]


def normalized(password: str) -> str:
    """The form (NFKC) in which passwords are measured and hashed.

    Raises `ValueError` for a text longer than `PASSWORD_INPUT_MAX`: normalization takes quadratic
    time in the length of a run of combining marks, and holds the GIL meanwhile.
    """
    if len(password) > PASSWORD_INPUT_MAX:
        raise ValueError("The text is too long to be a password")
    return unicodedata.normalize("NFKC", password)


def length_is_in_bounds(candidate: PasswordCandidate) -> None:
    too_long = len(candidate.password) > PASSWORD_INPUT_MAX
    minimum = candidate.policy.minimum
    if too_long or not minimum <= len(normalized(candidate.password)) <= PASSWORD_MAX:
        raise WeakPassword(f"A password has {minimum} to {PASSWORD_MAX} characters")


def it_is_not_the_address(candidate: PasswordCandidate) -> None:
    password = normalized(candidate.password).casefold()
    address = unicodedata.normalize("NFKC", candidate.email).casefold()
    local, _, domain = address.partition("@")
    rest = password
    for part in (address, domain, local):
        rest = rest.replace(part, "") if len(part) > 2 else rest
    # Fewer than four other letters: "anna.anna.anna" and "anna-2026-anna" are refused as well.
    if rest != password and sum(c.isalpha() for c in rest) < 4:
        raise WeakPassword("A password is not made of the e-mail address")


def it_is_not_common(candidate: PasswordCandidate) -> None:
    password = normalized(candidate.password)
    if candidate.policy.is_common(password) or candidate.policy.is_common(password.casefold()):
        raise WeakPassword("This password is one of those that are tried first")


PASSWORD_RULES: tuple[PasswordRule, ...] = (
    length_is_in_bounds,
    it_is_not_the_address,
    it_is_not_common,
)


def check_password(candidate: PasswordCandidate) -> None:
    """Raise `WeakPassword` with the reason of the first rule that `candidate` breaks."""
    for rule in PASSWORD_RULES:
        rule(candidate)
