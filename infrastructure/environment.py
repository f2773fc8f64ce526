"""The sources of settings: the environment, and the file `.env`."""

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream


class BadEnvironment(ValueError):
    """The text names the file or the variable, and never a value."""


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in `path`, to the letter: `${NAME}` in a value stays as it is written.

    Empty when there is no such file. Raises `BadEnvironment` when it is not UTF-8 (a byte order
    mark is allowed), or has a line that is no assignment.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadEnvironment(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without a mark is valid UTF-8, with NULs
        raise BadEnvironment(f"{path}: is not UTF-8; save it in that encoding")
    bindings = [*parse_stream(StringIO(text))]
    for binding in bindings:
        if binding.error or (binding.key and binding.value is None):
            written = binding.original.string
            before = written[: len(written) - len(written.lstrip())].count("\n")
            line = binding.original.line + before
            raise BadEnvironment(f"{path}: line {line} is no NAME=value")
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def check_variable(name: str, value: str) -> None:
    """Raises `BadEnvironment` for a value that was spoilt on its way into the environment."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadEnvironment(f"{name}: is not UTF-8") from None
    # `docker run --env-file` and Kubernetes keep quotes, which shells and .env files take off.
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise BadEnvironment(f"{name}: is in quotes, which would be part of it; remove them")


_URL = re.compile(r"(tcp|udp|sctp)://.+")
_SERVICE_LINK = (
    (re.compile(r"PORT(_\d+_(TCP|UDP|SCTP)(_START|_END)?)?"), _URL),
    (re.compile(r"PORT_\d+_(TCP|UDP|SCTP)_PROTO"), re.compile(r"tcp|udp|sctp")),
    (re.compile(r"PORT_\d+_(TCP|UDP|SCTP)_PORT(_START|_END)?"), re.compile(r"\d+")),
    (re.compile(r"PORT_\d+_(TCP|UDP|SCTP)_ADDR"), re.compile(r".*")),
    (re.compile(r"SERVICE_HOST"), re.compile(r".*")),
    (re.compile(r"SERVICE_PORT(_[A-Z0-9_]+)?"), re.compile(r"\d+")),
    (re.compile(r"NAME"), re.compile(r"/[^/]+/.+")),
    (re.compile(r"ENV_.+"), re.compile(r".*", re.DOTALL)),
)


def service_links(environment: Mapping[str, str], prefix: str) -> set[str]:
    """The names in `environment` that Kubernetes or Docker's links set for other containers.

    Kubernetes sets `GATEPOST_SERVICE_HOST`, `GATEPOST_PORT=tcp://...` and more in each pod
    of a namespace that has a service called `gatepost`, and for one called `gatepost-db`
    the same behind `GATEPOST_DB_`. Docker's `--link` adds `GATEPOST_NAME` and
    `GATEPOST_ENV_...`.
    """
    return {
        name
        for name, value in environment.items()
        if name.startswith(prefix) and _is_service_link(name.removeprefix(prefix), value)
    }


def _is_service_link(name: str, value: str) -> bool:
    # Any part of the name up to an underscore may belong to the service's name.
    ends = [name, *(name[at + 1 :] for at, letter in enumerate(name) if letter == "_")]
    return any(
        of_name.fullmatch(end) and of_value.fullmatch(value)
        for end in ends
        for of_name, of_value in _SERVICE_LINK
    )
