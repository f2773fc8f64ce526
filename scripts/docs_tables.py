"""A hook of mkdocs: fills the pages of rules and errors from the code."""

from typing import Any

import catalogue


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace("{{ rules }}", _rules()).replace("{{ errors }}", _errors())


def _rules() -> str:
    rows = [
        f"| `{rule.rules}` | `{rule.name}` | {_errors_of(rule)} | `{rule.place}` |"
        for rule in catalogue.rules()
    ]
    return "\n".join(["| tuple | rule | error | place |", "|---|---|---|---|", *rows])


def _errors_of(rule: catalogue.Rule) -> str:
    pairs = zip(rule.errors, rule.statuses, strict=True)
    return ", ".join(f"`{error}` ({status})" for error, status in pairs) or "changes the content"


def _errors() -> str:
    rows = [f"| {each.status} | `{each.code}` | {each.meaning} |" for each in catalogue.errors()]
    return "\n".join(["| status | code | meaning |", "|---|---|---|", *rows])
