"""The rules and error codes that `gatepost rules` and `gatepost errors` list."""

from pathlib import Path

import catalogue
from domain import posts


def test_the_rules_of_a_tuple_are_listed_in_the_order_in_which_they_run() -> None:
    listed = [rule.name for rule in catalogue.rules() if rule.rules == "posts.WRITING_RULES"]

    assert listed == [rule.__name__ for rule in posts.WRITING_RULES]


def test_a_rule_is_listed_with_its_error_its_status_and_its_line() -> None:
    (rule,) = (
        rule
        for rule in catalogue.rules()
        if (rule.rules, rule.name) == ("posts.DELETING_RULES", "version_is_expected")
    )
    file, _, line = rule.place.partition(":")

    assert (rule.errors, rule.statuses) == (["post_changed"], [412])
    root = Path(catalogue.__file__).parent
    assert (root / file).read_text().splitlines()[int(line) - 1].startswith(f"def {rule.name}(")


def test_each_code_of_a_status_is_listed_once_with_a_meaning() -> None:
    errors = catalogue.errors()

    assert len({(error.code, error.status) for error in errors}) == len(errors)
    assert all(error.meaning for error in errors)
