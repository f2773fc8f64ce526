"""The file of signing keys."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infrastructure.tokens import keyfile
from infrastructure.tokens.jose import UnfitKey, new_jwk

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
def test_a_key_that_is_added_is_read_as_the_newest(path: Path, algorithm: str) -> None:
    first = keyfile.add(path, "ES256", NOW)
    second = keyfile.add(path, algorithm, NOW)

    kept = keyfile.read(path)

    assert [entry.key.kid for entry in kept] == [first.kid, second.kid]
    assert [entry.key.algorithm for entry in kept] == ["ES256", algorithm]
    assert [entry.made for entry in kept] == [int(NOW.timestamp())] * 2


def test_the_file_is_a_jwk_set_that_only_its_owner_can_access(path: Path) -> None:
    key = keyfile.add(path, "RS256", NOW)
    keyfile.add(path, "ES256", NOW)

    assert path.stat().st_mode & 0o777 == 0o600
    first, second = json.loads(path.read_text())["keys"]
    assert (first["kty"], first["alg"], first["use"], first["kid"]) == (
        "RSA",
        "RS256",
        "sig",
        key.kid,
    )
    assert "d" in first
    assert (second["kty"], second["crv"]) == ("EC", "P-256")
    assert list(path.parent.iterdir()) == [path]


def test_retiring_a_key_keeps_the_others(path: Path) -> None:
    first, second, third = (keyfile.add(path, "ES256", NOW) for _ in range(3))

    keyfile.retire(path, second.kid, "ES256")

    assert [entry.key.kid for entry in keyfile.read(path)] == [first.kid, third.kid]
    with pytest.raises(UnfitKey, match=f"there is no key {re.escape(second.kid)}$"):
        keyfile.retire(path, second.kid, "ES256")


OCT = {"kty": "oct", "k": "qL3vR8mZ5tK1wN7yB4xJ9dH2sF6gC0pUaE-iO_TzVkM"}


@pytest.mark.parametrize("jwk", [new_jwk("ES256"), new_jwk("RS256"), OCT], ids=["EC", "RSA", "oct"])
@pytest.mark.parametrize("kid", ["mine", "2026-11", "-x ü", "k" * 255])
def test_a_key_made_elsewhere_keeps_its_kid(path: Path, jwk: dict[str, str], kid: str) -> None:
    write(path, {"keys": [jwk | {"kid": kid}]})

    (entry,) = keyfile.read(path)

    assert entry.made is None
    assert entry.key.kid == kid
    if entry.key.public:
        assert entry.key.public["kid"] == kid


@pytest.mark.parametrize("kid", ["", "k" * 256, "a\nb", 7, ["mine"], True])
def test_an_invalid_kid_is_refused(path: Path, kid: object) -> None:
    write(path, {"keys": [new_jwk("ES256") | {"kid": kid}]})

    with pytest.raises(UnfitKey, match="kid must be a string of 1 to 255 printable characters"):
        keyfile.read(path)


def test_two_keys_with_one_kid_are_refused(path: Path) -> None:
    write(path, {"keys": [new_jwk("ES256") | {"kid": "mine"}, OCT | {"kid": "mine"}]})

    with pytest.raises(UnfitKey, match="two keys have the kid mine"):
        keyfile.read(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_a_file_that_other_users_can_access_is_refused(path: Path, mode: int) -> None:
    keyfile.add(path, "ES256", NOW)
    path.chmod(mode)

    with pytest.raises(UnfitKey, match="other users can access it"):
        keyfile.read(path)
    with pytest.raises(UnfitKey, match="other users can access it"):
        keyfile.add(path, "ES256", NOW)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(UnfitKey, match="No such file"):
        keyfile.read(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        {"keys": None},
        {"keys": ["secret-words"]},
        {"keys": [None]},
        {"keys": [{"kty": "oct"}]},
        {"keys": [{"kty": "oct", "k": "short"}]},
        {"keys": [{"kty": "RSA", "n": "secret-words"}]},
        "[" * 100_000,
    ],
)
def test_a_file_with_anything_else_is_refused_and_not_repeated(path: Path, content: object) -> None:
    write(path, content)

    with pytest.raises(UnfitKey) as refusal:
        keyfile.read(path)

    assert str(refusal.value).startswith(f"{path}: ")
    assert "secret-words" not in str(refusal.value)


def test_a_file_without_keys_has_none(path: Path) -> None:
    write(path, {"keys": []})

    assert keyfile.read(path) == []
