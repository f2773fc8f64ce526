import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import RuleBroken
from domain.users import (
    EMAIL_MAX,
    NAME_MAX,
    BadEmail,
    BadName,
    Role,
    UserDraft,
    UserNotFound,
    email_key,
    register,
)
from tests.factories import UserDraftFactory
from tests.fakes.clock import NOON


def test_a_registration_keeps_what_was_asked_for() -> None:
    draft = UserDraft(email="Anna@Example.com", name="Anna")

    new = register(draft, now=NOON)

    assert (new.email, new.name, new.created_at) == ("Anna@Example.com", "Anna", NOON)
    assert new.role is Role.MEMBER


def test_a_registration_has_the_role_that_is_given() -> None:
    assert register(UserDraftFactory.build(), now=NOON, role=Role.ADMIN).role is Role.ADMIN


def test_a_name_may_be_left_out() -> None:
    assert register(UserDraftFactory.build(name=None), now=NOON).name is None


def test_blanks_around_a_name_are_cut_off() -> None:
    assert register(UserDraftFactory.build(name="  Anna B. "), now=NOON).name == "Anna B."


@pytest.mark.parametrize("length", [1, NAME_MAX])
def test_a_name_has_1_to_100_characters(length: int) -> None:
    name = "ñ" * length

    assert register(UserDraftFactory.build(name=f" {name} "), now=NOON).name == name


@pytest.mark.parametrize("name", ["", " ", "\u3000" * 2, "n" * (NAME_MAX + 1)], ids=len)
def test_a_name_of_another_length_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        register(UserDraftFactory.build(name=name), now=NOON)


@pytest.mark.parametrize(
    "name",
    ["山田\u3000太郎", "मि\u200dश्र", "👩‍👩‍👧‍👦", "O'Brien-Łukasz", "e\u0301", "\U0001fae9"],
)
def test_names_are_written_in_many_ways(name: str) -> None:
    assert register(UserDraftFactory.build(name=name), now=NOON).name == name


CONTROLS = ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_control_characters_are_refused_in_names_and_addresses(control: str) -> None:
    with pytest.raises(BadName):
        register(UserDraftFactory.build(name=f"An{control}na"), now=NOON)
    with pytest.raises(BadEmail):
        register(UserDraftFactory.build(email=f"an{control}na@example.com"), now=NOON)


def test_an_address_has_at_most_254_characters() -> None:
    longest = "a" * (EMAIL_MAX - len("@example.com")) + "@example.com"
    assert len(longest) == 254

    assert register(UserDraftFactory.build(email=longest), now=NOON).email == longest
    with pytest.raises(BadEmail):
        register(UserDraftFactory.build(email="a" + longest), now=NOON)


@pytest.mark.parametrize("email", ["", "anna", "anna.example.com"])
def test_an_address_has_an_at_sign(email: str) -> None:
    with pytest.raises(BadEmail):
        register(UserDraftFactory.build(email=email), now=NOON)


class NotOurs(RuleBroken):
    pass


def test_a_team_adds_a_rule_by_adding_it_to_the_tuple() -> None:
    def address_is_ours(draft: UserDraft) -> None:
        if not draft.email.endswith("@example.com"):
            raise NotOurs

    rules = (address_is_ours,)
    register(UserDraftFactory.build(email="a@example.com"), now=NOON, rules=rules)
    with pytest.raises(NotOurs):
        register(UserDraftFactory.build(email="a@example.org"), now=NOON, rules=rules)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna@example.com", "ANNA@Example.COM"),
        ("straße@example.com", "STRASSE@example.com"),
        ("οδος@example.com", "ΟΔΟΣ@example.com"),
        ("e\u0301mile@example.com", "\u00c9MILE@example.com"),
        ("\uff41nna@example.com", "anna@example.com"),
    ],
)
def test_addresses_compare_without_case_and_composition(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize("other", ["änna@example.com", "anna@example.org", "anna+x@example.com"])
def test_different_addresses_stay_different(other: str) -> None:
    assert email_key("anna@example.com") != email_key(other)


@given(st.text())
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert email_key(email_key(text)) == email_key(text)


def test_who_is_not_found_is_named_by_id() -> None:
    assert UserNotFound(7).detail == "User with id: 7 was not found"
