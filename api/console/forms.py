"""Forms of pages: what was entered, or what is wrong with which field."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError

from domain.addresses import EMAIL_MAX
from domain.errors import RuleBroken
from domain.passwords import PASSWORD_INPUT_MAX

Form = TypeVar("Form", bound=BaseModel)

_MESSAGES = {
    "missing": "Fill this in.",
    "string_too_short": "Fill this in.",
    "too_short": "Fill this in.",
    "email": "This is no e-mail address.",
    "string_too_long": "This is too long.",
    "too_long": "This is too long.",
    "enum": "Choose among what is offered.",
    "string_pattern_mismatch": "This has another form.",
}


class BadForm(RuleBroken):
    """`errors`: what is wrong, by the name of the field."""

    detail = "Please look at the marked fields."

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__()
        self.errors = errors


def _encodable(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=EMAIL_MAX)]
EnteredPassword = Annotated[
    SecretStr, BeforeValidator(_encodable), Field(min_length=1, max_length=PASSWORD_INPUT_MAX)
]
ChosenPassword = Annotated[SecretStr, BeforeValidator(_encodable), Field(min_length=1)]
"""The domain refuses what is too long, as `WeakPassword`."""


async def entered(request: Request) -> dict[str, str]:
    """The fields of the form that was sent; of several with one name, the last."""
    form = await request.form()
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}


def asked(request: Request, kind: type[Form]) -> Form:
    """The query of a list; an empty field of a form is none. Raises `BadForm`."""
    given = {name: value for name, value in request.query_params.items() if value}
    given.pop("done", None)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise BadForm(
            {str(detail["loc"][0]): "This has another form." for detail in error.errors()}
        ) from None


async def submitted(request: Request, kind: type[Form], *, lists: Sequence[str] = ()) -> Form:
    """The form, validated. Fields named in `lists` have all of their values. Raises `BadForm`."""
    form = await request.form()
    chosen = {name: form.getlist(name) for name in lists}
    try:
        return kind.model_validate(await entered(request) | chosen)
    except ValidationError as error:
        raise BadForm(
            {
                str(detail["loc"][0]): _MESSAGES.get(detail["type"], detail["msg"])
                for detail in error.errors(include_input=False, include_url=False)
            }
        ) from None
