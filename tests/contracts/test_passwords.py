"""The contract of password hashing."""

import asyncio
from collections.abc import Callable

import pytest

from application.ports.passwords import PasswordHash, Passwords
from domain.errors import Unavailable
from infrastructure.passwords import PEPPER_ID_LENGTH, BcryptPasswords
from tests.fakes.passwords import FakePasswords

ADAPTERS: dict[str, Callable[[], Passwords]] = {
    "fake": FakePasswords,
    "bcrypt": lambda: BcryptPasswords(cost=4, peppers=["a pepper"]),
}
PASSWORD = "correct horse battery"


@pytest.fixture(params=ADAPTERS)
def passwords(request: pytest.FixtureRequest) -> Passwords:
    return ADAPTERS[request.param]()


async def test_a_password_matches_its_hash(passwords: Passwords) -> None:
    assert await passwords.verify(PASSWORD, await passwords.hash(PASSWORD))


SIMILAR = {
    "another": "wrong horse battery",
    "empty": "",
    "other case": PASSWORD.title(),
    "one character more": PASSWORD + "s",
    "one character less": PASSWORD[:-1],
    "a blank": PASSWORD + " ",
    "NUL": PASSWORD + "\0",
}


@pytest.mark.parametrize("other", SIMILAR.values(), ids=SIMILAR.keys())
async def test_another_password_does_not_match(passwords: Passwords, other: str) -> None:
    assert not await passwords.verify(other, await passwords.hash(PASSWORD))
    assert not await passwords.verify(PASSWORD, await passwords.hash(other))


LONG = "0123456789" * 12
EVERY_CHARACTER_COUNTS = {
    "the 73rd byte": (LONG[:72] + "a", LONG[:72] + "b"),
    "the 128th character": (LONG + "1234567a", LONG + "1234567b"),
    "behind NUL": ("before\0after one", "before\0after two"),
    "NUL at first": ("\0one", "\0two"),
    "beyond the BMP": ("\U0001f512" * 12, "\U0001f513" * 12),
    "half a surrogate pair": ("\ud800" * 12, "\ud801" * 12),
    "a combining mark": ("n\u0303" * 12, "n" * 12),
}


@pytest.mark.parametrize(
    ("one", "two"), EVERY_CHARACTER_COUNTS.values(), ids=EVERY_CHARACTER_COUNTS.keys()
)
async def test_every_character_counts(passwords: Passwords, one: str, two: str) -> None:
    known = await passwords.hash(one)

    assert await passwords.verify(one, known)
    assert not await passwords.verify(two, known)


async def test_composed_and_decomposed_characters_are_equal(
    passwords: Passwords,
) -> None:
    known = await passwords.hash("Cafe\u0301 \ufb01ne \uff21")

    assert await passwords.verify("Caf\u00e9 fine A", known)


async def test_an_unknown_hash_matches_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify(PASSWORD, None)
    assert not await passwords.verify("", None)


TOO_LONG = "\u0301" * 5_000_000 + "\u0316" * 5_000_000
"""Normalizing this would take hours."""


async def test_a_text_that_is_too_long_matches_nothing_and_is_not_normalized(
    passwords: Passwords,
) -> None:
    for known in (await passwords.hash(PASSWORD), await passwords.hash(""), None):
        assert not await passwords.verify(TOO_LONG, known)
        assert not await passwords.verify(PASSWORD * 30, known)
    with pytest.raises(ValueError, match="too long"):
        await passwords.hash(TOO_LONG)


async def test_a_hash_is_salted_and_hides_its_password(passwords: Passwords) -> None:
    one, two = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)

    assert one != two
    assert PASSWORD not in one


async def test_concurrent_calls_do_not_mix(passwords: Passwords) -> None:
    known = [await passwords.hash(f"password {number}") for number in range(3)]

    answers = await asyncio.gather(
        *(passwords.verify("password 1", password_hash) for password_hash in known)
    )

    assert answers == [False, True, False]


# What only bcrypt has


def bcrypt_with(*peppers: str, cost: int = 4) -> BcryptPasswords:
    return BcryptPasswords(cost=cost, peppers=peppers)


async def test_a_hash_of_another_pepper_does_not_match() -> None:
    known = await bcrypt_with("one").hash(PASSWORD)

    assert await bcrypt_with("one").verify(PASSWORD, known)
    assert not await bcrypt_with("two").verify(PASSWORD, known)
    assert not await bcrypt_with("").verify(PASSWORD, known)


async def test_the_newest_pepper_hashes_and_older_ones_verify() -> None:
    old, both = bcrypt_with("old"), bcrypt_with("new", "old")
    known, fresh = await old.hash(PASSWORD), await both.hash(PASSWORD)

    assert await both.verify(PASSWORD, known)
    assert not await both.verify("another", known)
    assert (both.is_outdated(known), both.is_outdated(fresh)) == (True, False)
    assert await bcrypt_with("new").verify(PASSWORD, fresh)
    assert not await old.verify(PASSWORD, fresh)


async def test_a_hash_of_an_unknown_pepper_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    passwords = bcrypt_with("new secret")
    known = await bcrypt_with("lost secret").hash(PASSWORD)

    for _ in range(3):
        assert not await passwords.verify(PASSWORD, known)
    assert not await passwords.verify(PASSWORD, None)
    assert not await passwords.verify("another", await passwords.hash(PASSWORD))

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert vars(record)["fields"] == {"pepper_id": known[:PEPPER_ID_LENGTH]}
    assert "secret" not in str(vars(record))


async def test_a_hash_made_at_another_cost_matches_and_is_outdated() -> None:
    known = await bcrypt_with("", cost=5).hash(PASSWORD)

    assert "$05$" in known
    for cost in (4, 6, 7):
        passwords = bcrypt_with("", cost=cost)
        assert await passwords.verify(PASSWORD, known)
        assert not await passwords.verify("another", known)
        assert passwords.is_outdated(known)
    assert not bcrypt_with("", cost=5).is_outdated(known)


async def test_a_pepper_does_not_show_in_a_hash() -> None:
    assert "secret" not in await bcrypt_with("secret").hash(PASSWORD)


async def test_work_beyond_the_queue_is_refused_and_the_rest_is_done() -> None:
    passwords = BcryptPasswords(cost=10)
    known = PasswordHash(await passwords.hash(PASSWORD))

    answers = await asyncio.gather(
        *(passwords.verify(PASSWORD, known) for _ in range(200)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert answers.count(True) + len(refused) == 200
    assert answers.count(True) >= 1
    assert refused
    assert await passwords.verify(PASSWORD, known), "there is room again"


async def test_a_cancelled_call_frees_its_place() -> None:
    passwords = BcryptPasswords(cost=6)

    for _ in range(10):
        tasks = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    assert await passwords.hash(PASSWORD)
