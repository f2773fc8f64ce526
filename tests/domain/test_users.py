from datetime import timedelta

import pytest

from domain.addresses import BadEmail
from domain.errors import RuleBroken
from domain.users import (
    NAME_MAX,
    BadName,
    LastAdmin,
    ProfileChange,
    Role,
    UserDraft,
    UserId,
    UserNotFound,
    an_admin_is_left,
    register,
)
from tests.factories import UserDraftFactory, UserFactory
from tests.fakes.clock import NOON


def test_a_registration_has_the_fields_of_the_draft() -> None:
    draft = UserDraft(email="Anna@example.com", name="Anna")

    new = register(draft, now=NOON)

    assert (new.email, new.name, new.created_at) == ("Anna@example.com", "Anna", NOON)
    assert new.role is Role.MEMBER


def test_a_registration_has_the_given_role() -> None:
    assert register(UserDraftFactory.build(), now=NOON, role=Role.ADMIN).role is Role.ADMIN


def test_a_name_may_be_left_out() -> None:
    assert register(UserDraftFactory.build(name=None), now=NOON).name is None


def test_a_name_is_trimmed() -> None:
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
def test_names_may_have_any_script(name: str) -> None:
    assert register(UserDraftFactory.build(name=name), now=NOON).name == name


CONTROLS = ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_control_characters_are_refused_in_names_and_addresses(control: str) -> None:
    with pytest.raises(BadName):
        register(UserDraftFactory.build(name=f"An{control}na"), now=NOON)
    with pytest.raises(BadEmail):
        register(UserDraftFactory.build(email=f"an{control}na@example.com"), now=NOON)


def test_an_address_is_registered_in_its_normal_form() -> None:
    draft = UserDraftFactory.build(email=" Anna@EXÄMPLE.com ")

    assert register(draft, now=NOON).email == "Anna@exämple.com"
    with pytest.raises(BadEmail):
        register(UserDraftFactory.build(email="anna.example.com"), now=NOON)


def test_the_error_for_a_missing_user_names_the_id() -> None:
    assert UserNotFound(7).detail == "User with id: 7 was not found"


def test_an_edit_changes_only_the_fields_that_it_names() -> None:
    anna = UserFactory.build(name="Anna", email="anna@example.com", is_verified=True)

    anna.edit(ProfileChange())
    assert (anna.name, anna.email, anna.is_verified) == ("Anna", "anna@example.com", True)
    anna.edit(ProfileChange(name="  Hanna ", renames=True))
    assert (anna.name, anna.email, anna.is_verified) == ("Hanna", "anna@example.com", True)
    anna.edit(ProfileChange(name=None, renames=True))
    assert anna.name is None


def test_another_address_is_pending_until_it_is_confirmed() -> None:
    anna = UserFactory.build(email="anna@example.com")

    anna.edit(ProfileChange(email=" New@EXAMPLE.com"))
    assert (anna.email, anna.pending_email) == ("anna@example.com", "New@example.com")
    anna.confirm_email("other@example.com")
    assert (anna.pending_email, anna.is_verified) == ("New@example.com", False)
    anna.confirm_email("New@example.com")
    assert (anna.email, anna.pending_email) == ("New@example.com", None)
    assert anna.is_verified


def test_a_code_for_the_current_address_verifies_it_and_an_edit_cancels_the_pending_one() -> None:
    anna = UserFactory.build(email="anna@example.com", pending_email="new@example.com")

    anna.confirm_email("anna@example.com")
    assert (anna.pending_email, anna.is_verified) == ("new@example.com", True)
    anna.edit(ProfileChange(email="anna@example.com"))
    assert (anna.email, anna.pending_email, anna.is_verified) == ("anna@example.com", None, True)


def test_a_restored_address_is_verified_and_nothing_is_pending() -> None:
    anna = UserFactory.build(email="thief@example.com", pending_email="next@example.com")

    anna.restore_email("anna@example.com")

    assert (anna.email, anna.pending_email, anna.is_verified) == ("anna@example.com", None, True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (ProfileChange(name="", renames=True), BadName),
        (ProfileChange(name="x" * (NAME_MAX + 1), renames=True), BadName),
        (ProfileChange(email="no address"), BadEmail),
        (ProfileChange(email="a@b\0"), BadEmail),
    ],
)
def test_an_edit_keeps_the_rules_of_registration(
    change: ProfileChange, error: type[RuleBroken]
) -> None:
    anna = UserFactory.build(name="Anna")

    with pytest.raises(error):
        anna.edit(change)
    assert anna.name == "Anna"


def test_only_the_first_deactivation_moves_tokens_valid_from() -> None:
    anna = UserFactory.build()
    later, latest = NOON + timedelta(hours=1), NOON + timedelta(hours=2)

    for is_active, now in ((True, later), (False, later), (False, latest), (True, latest)):
        anna.administer(role=None, is_active=is_active, admins=[], now=now)

    assert anna.is_active
    assert anna.tokens_valid_from == later


@pytest.mark.parametrize(
    ("role", "is_active"), [(Role.MEMBER, None), (Role.MODERATOR, True), (None, False)]
)
def test_the_last_admin_cannot_be_demoted_or_deactivated(
    role: Role | None, is_active: bool | None
) -> None:
    admin = UserFactory.build(role=Role.ADMIN)

    with pytest.raises(LastAdmin):
        admin.administer(role=role, is_active=is_active, admins=[admin.id], now=NOON)
    other = UserFactory.build(role=Role.ADMIN)
    other.administer(role=role, is_active=is_active, admins=[admin.id, other.id], now=NOON)


def test_the_last_admin_may_be_made_admin_again() -> None:
    admin = UserFactory.build(role=Role.ADMIN)

    admin.administer(role=Role.ADMIN, is_active=True, admins=[admin.id], now=NOON)


def test_an_admin_may_leave_while_another_one_remains() -> None:
    one, two = UserId(1), UserId(2)

    for admins in ([two], [one, two], []):
        an_admin_is_left(one, admins)
    with pytest.raises(LastAdmin):
        an_admin_is_left(one, [one])
