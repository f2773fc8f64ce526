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
    """What a service asks of its passwords."""

    minimum: int = 12
    """Fewest code points."""
    is_common: Callable[[str], bool] = _never
    """Whether a password is on the list of those that everybody tries first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCandidate:
    """A password about to be chosen, and what a rule may hold against it."""

    password: str = field(repr=False)
    email: str
    policy: PasswordPolicy = PasswordPolicy()


PasswordRule = Callable[[PasswordCandidate], None]


def normalized(password: str) -> str:
    """The form (NFKC) in which passwords are counted and hashed, whatever the keyboard sent.

    Raises `ValueError` for a text longer than `PASSWORD_INPUT_MAX`: NFKC takes quadratic time in
    the length of a run of combining marks, and holds the interpreter's lock all the while.
    """
    if len(password) > PASSWORD_INPUT_MAX:
        raise ValueError("The text is too long to be a password")
    return unicodedata.normalize("NFKC", password)


def length_is_in_bounds(choice: PasswordCandidate) -> None:
    too_long = len(choice.password) > PASSWORD_INPUT_MAX
    minimum = choice.policy.minimum
    if too_long or not minimum <= len(normalized(choice.password)) <= PASSWORD_MAX:
        raise WeakPassword(f"A password has {minimum} to {PASSWORD_MAX} characters")


def it_is_not_the_address(choice: PasswordCandidate) -> None:
    password = normalized(choice.password).casefold()
    address = unicodedata.normalize("NFKC", choice.email).casefold()
    local, _, domain = address.partition("@")
    rest = password
    for part in (address, domain, local):
        rest = rest.replace(part, "") if len(part) > 2 else rest
    # "anna.anna.anna" and "anna-2026-anna" are the address too: no other word is left of them.
    if rest != password and sum(c.isalpha() for c in rest) < 4:
        raise WeakPassword("A password is not made of the e-mail address")


def it_is_not_common(choice: PasswordCandidate) -> None:
    password = normalized(choice.password)
    if choice.policy.is_common(password) or choice.policy.is_common(password.casefold()):
        raise WeakPassword("This password is one of those that are tried first")


PASSWORD_RULES: tuple[PasswordRule, ...] = (
    length_is_in_bounds,
    it_is_not_the_address,
    it_is_not_common,
)


def check_password(
    choice: PasswordCandidate, rules: tuple[PasswordRule, ...] = PASSWORD_RULES
) -> None:
    """Raise `WeakPassword` with the reason of the first rule that the choice breaks."""
    for rule in rules:
        rule(choice)
