"""Makes infrastructure/common_passwords.bin of two lists of leaked passwords, most used first.

    python scripts/common_passwords.py xato-net-10-million-passwords-1000000.txt rockyou.txt

Both are of SecLists (https://github.com/danielmiessler/SecLists, MIT): the first in
Passwords/Common-Credentials, the second in Passwords/Leaked-Databases. RockYou's passwords beyond
the first 2.4 million were used by one account each, and are left out.

Prints what share of leaked passwords the list still has, among them of each list what the other
one alone would have.
"""

import struct
import sys
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from infrastructure.common_passwords import BUCKETS, FILE, LENGTH_MIN, OFFSET, TAIL

USED_TWICE = 2_400_000
"""Passwords of RockYou, by how often each was used."""
DEFAULT_MINIMUM = 12
"""Characters that a password must have unless `PASSWORD_MIN` says otherwise."""


def read(path: str) -> list[str]:
    text = Path(path).read_text(encoding="utf-8", errors="ignore")
    return [line for line in text.split("\n") if len(line) >= LENGTH_MIN]


def used_twice(path: str) -> list[str]:
    text = Path(path).read_text(encoding="utf-8", errors="ignore")
    return [line for line in text.split("\n")[:USED_TWICE] if len(line) >= LENGTH_MIN]


def pack(passwords: Iterable[str]) -> bytes:
    """The file of these passwords, as infrastructure/common_passwords.py reads it."""
    digests = sorted({sha256(password.encode()).digest()[: 2 + TAIL] for password in passwords})
    starts = [0] * (BUCKETS + 1)
    for digest in digests:
        starts[int.from_bytes(digest[:2]) + 1] += 1
    for bucket in range(BUCKETS):
        starts[bucket + 1] += starts[bucket]
    return b"".join(
        (*(struct.pack(OFFSET, start) for start in starts), *(digest[2:] for digest in digests))
    )


def show(name: str, leaked: Sequence[str], listed: Collection[str]) -> None:
    """Print the share of the most used leaked passwords that a list has."""
    fit = [password for password in leaked if len(password) >= DEFAULT_MINIMUM]
    for number in (100, 1_000, 10_000, 100_000, len(fit)):
        if number <= len(fit):
            share = sum(password in listed for password in fit[:number]) / number
            print(f"{name}: {share:6.1%} of the {number:,} most used")


def main() -> None:
    xato, rockyou = read(sys.argv[1]), used_twice(sys.argv[2])
    packed = pack(xato + rockyou)
    FILE.write_bytes(packed)
    print(f"{FILE.name}: {len(packed):,} bytes, {len({*xato, *rockyou}):,} passwords")
    show("RockYou by the whole list", read(sys.argv[2]), {*xato, *rockyou})
    show("xato by RockYou alone", xato, set(rockyou))
    show("RockYou by xato alone", rockyou, set(xato))


if __name__ == "__main__":
    main()
