import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.passwords import (
    PASSWORD_INPUT_MAX,
    PASSWORD_MAX,
    PasswordCandidate,
    PasswordPolicy,
    WeakPassword,
    check_password,
    normalized,
)

EMAIL = "anna@example.com"


def check(password: str, email: str = EMAIL, minimum: int = 12) -> None:
    policy = PasswordPolicy(minimum=minimum)
    check_password(PasswordCandidate(password=password, email=email, policy=policy))


@pytest.mark.parametrize("length", [12, 13, 127, PASSWORD_MAX])
def test_a_password_has_12_to_128_characters(length: int) -> None:
    check("x" * length)


@pytest.mark.parametrize("length", [0, 1, 11, PASSWORD_MAX + 1, 4 * PASSWORD_MAX + 1, 1_000_000])
def test_a_password_of_another_length_is_weak(length: int) -> None:
    with pytest.raises(WeakPassword, match="12 to 128 characters"):
        check("x" * length)


def test_the_minimum_is_a_setting() -> None:
    check("x" * 8, minimum=8)
    with pytest.raises(WeakPassword, match="16 to 128 characters"):
        check("x" * 15, minimum=16)


def test_characters_are_counted_in_their_normal_form() -> None:
    check("e\u0301" * PASSWORD_MAX)  # each composes to one
    check("\u03b1\u0313\u0300\u0345" * PASSWORD_MAX)  # four to one
    check("\ufb03" * 4)  # a ligature of three
    with pytest.raises(WeakPassword):
        check("e\u0301" * 11)
    with pytest.raises(WeakPassword):
        check("\ufdfa" * PASSWORD_MAX)  # one stands for eighteen


@pytest.mark.parametrize("length", [PASSWORD_INPUT_MAX + 1, 10**7])
def test_a_text_that_is_too_long_is_never_normalized(length: int) -> None:
    text = "\u0301" * (length // 2) + "\u0316" * (length - length // 2)

    with pytest.raises(ValueError, match="too long"):
        normalized(text)
    with pytest.raises(WeakPassword):
        check(text)


def test_the_longest_text_that_is_normalized_can_be_a_password() -> None:
    text = "\u03b1\u0313\u0300\u0345" * PASSWORD_MAX

    assert len(text) == PASSWORD_INPUT_MAX
    assert len(normalized(text)) == PASSWORD_MAX


def test_a_character_beyond_16_bits_counts_as_one() -> None:
    check("🔒" * PASSWORD_MAX)
    with pytest.raises(WeakPassword):
        check("🔒" * 11)


@pytest.mark.parametrize(
    "password",
    ["\0" * 12, " " * 12, "1" * 12, "\ud800" * 12, "пароль и ключ", "\ta\nb\rc\x7fd\x1be\x85f"],
)
def test_every_character_is_allowed_and_no_composition_required(password: str) -> None:
    check(password)


@pytest.mark.parametrize(
    "password",
    [
        "anna@example.com",
        "ANNA@Example.com",
        "anna@example.com1!",
        "annaannaanna",
        "anna-2026-anna",
        "Anna12345678",
        "example.com123",
        "annaexample.com",
        "\uff21nna@example.com",
    ],
)
def test_a_password_made_of_the_address_is_weak(password: str) -> None:
    with pytest.raises(WeakPassword, match="address"):
        check(password)


@pytest.mark.parametrize("password", ["anna eats horses", "savanna wind", "example of mine"])
def test_a_password_may_contain_the_local_part(password: str) -> None:
    check(password)


def test_a_part_of_two_letters_is_ignored() -> None:
    check("ababababab12", email="ab@x.io")


def test_an_address_without_a_domain_is_compared_too() -> None:
    with pytest.raises(WeakPassword):
        check("annaannaanna", email="anna")
    check("correct horse battery", email="")


@pytest.mark.parametrize(
    "password", ["qwerty123456", "QWERTY123456", "Qwerty123456", "\uff51werty123456"]
)
def test_a_common_password_is_weak_in_every_spelling(password: str) -> None:
    policy = PasswordPolicy(is_common={"qwerty123456"}.__contains__)

    with pytest.raises(WeakPassword, match="tried first"):
        check_password(PasswordCandidate(password=password, email=EMAIL, policy=policy))
    check_password(PasswordCandidate(password="qwerty123457", email=EMAIL, policy=policy))


@pytest.mark.parametrize("password", ["hunter2", "anna" * 3])
def test_a_refusal_does_not_repeat_the_password(password: str) -> None:
    with pytest.raises(WeakPassword) as refusal:
        check(password)

    assert password not in str(refusal.value)


def test_the_repr_of_a_candidate_hides_its_password() -> None:
    assert "hunter2" not in repr(PasswordCandidate(password="hunter2", email=EMAIL))


@given(st.text())
def test_normalization_is_idempotent(password: str) -> None:
    assert normalized(normalized(password)) == normalized(password)
