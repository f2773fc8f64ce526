"""Ids in paths and queries: positive integers of 63 bits, each with one spelling."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

ID_MAX = 2**63 - 1

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)")


def _decimal(value: object) -> object:
    """`value`, if it is the decimal notation of an integer.

    Pydantic would take `1.0`, `+1`, `01` and `1 ` for 1 as well, and caches and proxies' rules take
    each of them for another address.
    """
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be an integer in decimal notation")
    return value


Id = Annotated[int, Field(ge=1, le=ID_MAX), BeforeValidator(_decimal)]
