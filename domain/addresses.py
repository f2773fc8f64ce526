"""E-mail addresses: the grammar, the form that is stored, and the form that compares."""

import unicodedata

import idna
from email_validator import EmailNotValidError, validate_email

from domain.errors import RuleBroken

EMAIL_MAX = 254
LOCAL_PART_MAX = 64
"""Octets (RFC 5321, section 4.5.3.1.1)."""


class BadEmail(RuleBroken):
    detail = (
        f"email must be an address that mail can be sent to, of at most {EMAIL_MAX} characters,"
        f" {LOCAL_PART_MAX} of them before the @"
    )


def normal_address(text: str) -> str:
    """The form in which an address is stored, shown and registered, whoever wrote it.

    Surrounding whitespace is removed. The local part is in NFC. The domain is in lower case and
    in Unicode; it is valid by IDNA 2008. Raises `BadEmail`, which does not repeat the input.
    """
    text = text.strip()
    # Checked first: the time that normalization takes is not linear in the length.
    if len(text) > EMAIL_MAX:
        raise BadEmail
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        raise BadEmail from None
    if len(address.local_part.encode()) > LOCAL_PART_MAX:
        raise BadEmail
    return address.normalized


def email_key(email: str) -> str:
    """The form in which addresses compare: two addresses with one key are one account.

    Local parts compare in NFKC and lower case. They are not case-folded: folding would merge
    `straße` with `strasse`, which are two mailboxes. Domains compare by their A-label. Text that
    is no address has a key too.
    """
    local, at, domain = email.strip().rpartition("@")
    local = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).lower())
    local = local.lstrip()  # NFKC writes some characters as a space and a mark
    try:
        return f"{local}{at}{a_label(domain)}"
    except UnicodeError:
        return f"{local}{at}{domain.lower()}"


def host_of(email: str) -> str:
    """The A-label of the domain: what mail for the address goes to."""
    return email_key(email).rpartition("@")[2]


def deliverable(email: str) -> str:
    """The form in which mail is sent: with the domain's A-label, for servers without SMTPUTF8.

    Raises UnicodeError for a domain that has none.
    """
    local, at, domain = email.rpartition("@")
    return f"{local}{at}{a_label(domain)}"


def a_label(domain: str) -> str:
    """The ASCII form of a domain by IDNA 2008 (RFC 5891) after UTS 46, non-transitional.

    Non-transitional keeps `ß`, `ς` and the joiners. IDNA 2003, which Python's codec "idna"
    implements, maps them to other letters and so to another domain. Raises UnicodeError.
    """
    if domain.isascii():
        return domain.lower()
    return idna.encode(domain, uts46=True, transitional=False).decode()
