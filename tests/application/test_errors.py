"""What a use case declares to raise."""

import pytest

from application.errors import declared_by, errors_of, raises
from domain import posts
from domain.addresses import BadEmail
from domain.errors import Conflict, NotFound
from domain.users import REGISTRATION_RULES, BadName, User, register


class Missing(NotFound):
    detail = "It is not there"


class Full(Conflict):
    detail = "It is full"


@raises(Missing)
async def read() -> None: ...


@raises(read, Full)
async def add() -> None: ...


async def undeclared() -> None: ...


def test_a_use_case_raises_what_it_declares_and_what_the_ones_raise_that_it_names() -> None:
    assert errors_of(read) == {Missing}
    assert errors_of(add) == {Missing, Full}


def test_a_function_that_declares_nothing_is_no_source() -> None:
    assert declared_by(undeclared) == frozenset()
    with pytest.raises(TypeError, match="undeclared"):
        errors_of(undeclared)


def test_the_errors_of_a_function_of_the_domain_are_those_that_it_and_its_rules_name() -> None:
    assert errors_of(REGISTRATION_RULES) == {BadName}
    assert errors_of(register) == {BadName, BadEmail}
    assert errors_of(User.edit) == {BadName, BadEmail}


def test_a_rule_that_joins_a_tuple_brings_its_error_along() -> None:
    assert {error.__name__ for error in errors_of(posts.write)} >= {"BadTitle", "QuotaReached"}
