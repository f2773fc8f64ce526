"""The environment, and the file `.env`."""

from pathlib import Path

import pytest

from infrastructure.environment import (
    BadEnvironment,
    check_variable,
    read_env_file,
    service_links,
)

TEXT = "GATEPOST_ISSUER=für\n"

KUBERNETES = {
    "GATEPOST_SERVICE_HOST": "10.96.0.11",
    "GATEPOST_SERVICE_PORT": "8000",
    "GATEPOST_SERVICE_PORT_HTTP": "8000",
    "GATEPOST_SERVICE_PORT_METRICS_V2": "9000",
    "GATEPOST_PORT": "tcp://10.96.0.11:8000",
    "GATEPOST_PORT_8000_TCP": "tcp://10.96.0.11:8000",
    "GATEPOST_PORT_8000_TCP_PROTO": "tcp",
    "GATEPOST_PORT_8000_TCP_PORT": "8000",
    "GATEPOST_PORT_8000_TCP_ADDR": "10.96.0.11",
    "GATEPOST_PORT_53_UDP": "udp://10.96.0.11:53",
    "GATEPOST_PORT_53_UDP_PROTO": "udp",
    "GATEPOST_PORT_53_UDP_PORT": "53",
    "GATEPOST_PORT_53_UDP_ADDR": "fd00::11",
}
"""What the kubelet sets in each pod for a service called `gatepost`."""

DOCKER = {
    "GATEPOST_NAME": "/web/gatepost",
    "GATEPOST_PORT": "tcp://172.17.0.2:8000",
    "GATEPOST_PORT_8000_TCP": "tcp://172.17.0.2:8000",
    "GATEPOST_PORT_8000_TCP_START": "tcp://172.17.0.2:8000",
    "GATEPOST_PORT_8000_TCP_END": "tcp://172.17.0.2:8009",
    "GATEPOST_PORT_8000_TCP_PORT_START": "8000",
    "GATEPOST_PORT_8000_TCP_PORT_END": "8009",
    "GATEPOST_ENV_PATH": "/usr/bin",
    "GATEPOST_ENV_GATEPOST_SECRET_KEY": "x\ny",
}
"""What `docker run --link` sets for a container called `gatepost`."""


@pytest.mark.parametrize("links", [KUBERNETES, DOCKER], ids=["kubernetes", "docker"])
@pytest.mark.parametrize("service", ["GATEPOST_", "GATEPOST_DB_", "GATEPOST_PORT_API_"])
def test_links_to_services_are_recognized(links: dict[str, str], service: str) -> None:
    named = {name.replace("GATEPOST_", service, 1): value for name, value in links.items()}

    assert service_links(named | {"PATH": "/usr/bin"}, "GATEPOST_") == set(named)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8000"),
        ("PORTS", "tcp://10.96.0.11:8000"),
        ("PORT_8000", "tcp://10.96.0.11:8000"),
        ("SERVICE_PORT", "eight"),
        ("SERVICE_NAME", "gatepost"),
        ("NAME", "gatepost"),
        ("ENV", "production"),
        ("SECRET_KEI", "x"),
        ("METRICS_PORTS", "9000"),
        ("HOST", "10.96.0.11"),
    ],
)
def test_a_misspelled_setting_is_not_taken_for_a_link(name: str, value: str) -> None:
    assert service_links({f"GATEPOST_{name}": value}, "GATEPOST_") == set()


def test_no_setting_looks_like_a_link() -> None:
    from infrastructure.settings import Settings

    for name in Settings.model_fields:
        variable = f"GATEPOST_{name.upper()}"
        for value in ("8000", "tcp://10.96.0.11:8000", "x"):
            assert service_links({variable: value}, "GATEPOST_") == set()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("A=b", {"A": "b"}),
        ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
        ("export A=b # comment\n\n# another\n", {"A": "b"}),
        ("A=\"b c\"\nB='d#e'\n", {"A": "b c", "B": "d#e"}),
        ("A=\n", {"A": ""}),
        ("A=${HOME}/x\nB='${HOME}'\nC=a$b$$\n", {"A": "${HOME}/x", "B": "${HOME}", "C": "a$b$$"}),
        ("A='two\nlines'", {"A": "two\nlines"}),
    ],
)
def test_values_in_a_file_are_not_expanded(
    tmp_path: Path, written: str, read: dict[str, str]
) -> None:
    (tmp_path / ".env").write_bytes(written.encode())

    assert read_env_file(tmp_path / ".env") == read


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(TEXT.encode("utf-8-sig"))

    assert read_env_file(tmp_path / ".env") == {"GATEPOST_ISSUER": "für"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_bytes(TEXT.encode(encoding))

    with pytest.raises(BadEnvironment, match=r"\.env: is not UTF-8"):
        read_env_file(tmp_path / ".env")


@pytest.mark.parametrize(
    ("written", "line"), [("A=b\nhunter2\n", 2), ("A=b\n\nB='hunter2\n", 3), ("= hunter2", 1)]
)
def test_an_invalid_line_is_named_by_number_and_not_repeated(
    tmp_path: Path, written: str, line: int
) -> None:
    (tmp_path / ".env").write_text(written)

    with pytest.raises(BadEnvironment) as refusal:
        read_env_file(tmp_path / ".env")

    assert str(refusal.value) == f"{tmp_path}/.env: line {line} is no NAME=value"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadEnvironment, match="Is a directory"):
        read_env_file(tmp_path)


@pytest.mark.parametrize("value", ['"hunter2"', "'hunter2'", '""', "hunter2\udcfc"])
def test_a_corrupt_value_is_named_and_not_repeated(value: str) -> None:
    with pytest.raises(BadEnvironment, match=r"^GATEPOST_X: is ") as refusal:
        check_variable("GATEPOST_X", value)

    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("value", ["", '"', "a'b", "'a\"", "für"])
def test_other_values_are_accepted(value: str) -> None:
    check_variable("GATEPOST_X", value)
