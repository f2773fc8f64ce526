import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.addresses import (
    EMAIL_MAX,
    LOCAL_PART_MAX,
    BadEmail,
    deliverable,
    email_key,
    normal_address,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Anna@Example.COM", "Anna@example.com"),
        (" anna@example.com\n", "anna@example.com"),
        ("anna@xn--exmple-cua.com", "anna@exämple.com"),
        ("v@FAß.example", "v@faß.example"),
        ("e\u0301mile@example.com", "émile@example.com"),
        ("anna@example。com", "anna@example.com"),
    ],
)
def test_an_address_has_one_normal_form(text: str, normal: str) -> None:
    assert normal_address(text) == normal
    assert normal_address(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        *("", "anna", "anna.example.com", "@example.com", "anna@", "a@b@example.com"),
        *("anna b@example.com", "anna@exa mple.com", "anna@example..com", "anna@-.com"),
        *("an\0na@example.com", "anna@exam\0ple.com", "anna@\ud800.com", "\ud800@example.com"),
        *("Anna <anna@example.com>", '"anna b"@example.com', "anna@[192.0.2.1]"),
    ],
    ids=ascii,
)
def test_an_invalid_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadEmail) as refusal:
        normal_address(text)
    assert not text or text not in str(refusal.value)


@pytest.mark.parametrize("character", ["a", "é"])
def test_a_local_part_has_at_most_64_octets(character: str) -> None:
    longest = character * (LOCAL_PART_MAX // len(character.encode()))

    assert normal_address(f"{longest}@example.com") == f"{longest}@example.com"
    with pytest.raises(BadEmail):
        normal_address(f"{longest}{character}@example.com")


def test_an_address_has_at_most_254_characters() -> None:
    domain = ".".join(["d" * 63, "e" * 63, "f" * 57, "com"])
    longest = "a" * (EMAIL_MAX - 1 - len(domain)) + "@" + domain

    assert normal_address(longest) == longest
    with pytest.raises(BadEmail):
        normal_address("a" + longest)
    with pytest.raises(BadEmail):
        normal_address("\u0301\u0316" * 100_000 + "@example.com")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna@example.com", "ANNA@Example.COM"),
        ("anna@example.com", " anna@example.com "),
        ("e\u0301mile@example.com", "\u00c9MILE@example.com"),
        ("\uff41nna@example.com", "anna@example.com"),
        ("ΟΔΟΣ@example.com", "οδος@example.com"),
        ("v@faß.example", "v@XN--FA-HIA.example"),
    ],
)
def test_addresses_compare_without_case_and_composition(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna@example.com", "änna@example.com"),
        ("anna@example.com", "anna@example.org"),
        ("anna@example.com", "anna+x@example.com"),
        ("straße@example.com", "strasse@example.com"),
        ("οδος@example.com", "οδοσ@example.com"),
        ("v@faß.example", "v@fass.example"),
        ("v@οδος.example", "v@οδοσ.example"),
        ("v@نامه\u200cای.example", "v@نامهای.example"),
    ],
)
def test_different_mailboxes_are_different_addresses(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)
    assert deliverable(one) != deliverable(other)


@given(st.text())
@example("¨@")
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert email_key(email_key(text)) == email_key(text)


@given(st.emails())
def test_an_address_and_its_normal_form_have_the_same_key(text: str) -> None:
    try:
        normal = normal_address(text)
    except BadEmail:
        return
    assert email_key(normal) == email_key(text)
    assert email_key(deliverable(normal)) == email_key(text)


@pytest.mark.parametrize(
    ("email", "sent"),
    [
        ("v@faß.example", "v@xn--fa-hia.example"),
        ("v@οδος.example", "v@xn--pxavbm.example"),
        ("Änna@example.com", "Änna@example.com"),
    ],
)
def test_mail_is_sent_to_the_a_label(email: str, sent: str) -> None:
    assert deliverable(email) == sent
