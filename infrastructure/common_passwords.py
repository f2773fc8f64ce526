"""The most common passwords, looked up in a file of hashes of which nothing is kept in memory.

scripts/common_passwords.py makes the file, which starts with the offsets of 65,536 buckets. The
first two bytes of a password's SHA-256 name its bucket, the next three are its entry there. Of two
million passwords that are not on the list, one is taken for one that is.
"""

import struct
from hashlib import sha256
from pathlib import Path

FILE = Path(__file__).with_suffix(".bin")
LENGTH_MIN = 10
"""Characters: shorter ones are not on the list, because no setting lets them through."""

BUCKETS = 1 << 16
OFFSET = ">I"
TAIL = 3
_OFFSET_SIZE = struct.calcsize(OFFSET)


def is_common(password: str, file: Path = FILE) -> bool:
    """Whether `password` is among the half million most used ones of ten characters or more."""
    if len(password) < LENGTH_MIN:
        return False
    digest = sha256(password.encode(errors="backslashreplace")).digest()
    with file.open("rb") as data:
        data.seek(int.from_bytes(digest[:2]) * _OFFSET_SIZE)
        start, end = struct.unpack(">2I", data.read(2 * _OFFSET_SIZE))
        data.seek((BUCKETS + 1) * _OFFSET_SIZE + start * TAIL)
        tails = data.read((end - start) * TAIL)
    tail = digest[2 : 2 + TAIL]
    return any(tails[at : at + TAIL] == tail for at in range(0, len(tails), TAIL))
