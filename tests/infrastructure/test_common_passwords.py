from pathlib import Path

import pytest

from infrastructure.common_passwords import FILE, LENGTH_MIN, is_common
from infrastructure.settings import Settings
from scripts.common_passwords import pack


@pytest.mark.parametrize("password", ["1234567890", "123456789012", "qwerty123456", "iloveyou1234"])
def test_a_password_of_many_accounts_is_common(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "", "123456", "\ud800" * 12, "\0" * 12, "пароль и ключ"]
)
def test_a_password_that_is_not_listed_is_not_common(password: str) -> None:
    assert not is_common(password)


def test_a_packed_password_is_found_and_no_other(tmp_path: Path) -> None:
    listed = [f"password {number}" for number in range(10_000)]
    file = tmp_path / "list.bin"
    file.write_bytes(pack([*listed, *listed[:5]]))

    assert all(is_common(password, file) for password in listed)
    assert not any(is_common(f"another {number}", file) for number in range(10_000))


def test_the_list_is_small_and_covers_every_allowed_length() -> None:
    (bound,) = [at for at in Settings.model_fields["password_min"].metadata if hasattr(at, "ge")]

    assert FILE.stat().st_size < 2_000_000
    assert bound.ge >= LENGTH_MIN
