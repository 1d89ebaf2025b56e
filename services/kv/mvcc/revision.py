"""Revisions, and the keys under which the engine keeps the records of the store.

A revision has two parts: `main` counts the transactions that wrote, `sub` the writes within one. A record's key is
`main` (8 bytes, big-endian), "_", `sub` (8 bytes), and for the record of a deletion a "t": 17 or 18 bytes whose order
is the order of writing. This is etcd's own layout, so that hashes over records can be compared with it.
"""

from struct import Struct

_KEY = Struct(">QcQ")
TOMBSTONE_KEY_BYTES = 18
"""The length of a deletion's key."""
RECORD_KEY_BYTES = 17
"""The length of any other record's key."""


def record_key(main: int, sub: int) -> bytes:
    """The engine's key of a put."""
    return _KEY.pack(main, b"_", sub)


def tombstone_key(main: int, sub: int) -> bytes:
    """The engine's key of a deletion."""
    return _KEY.pack(main, b"_", sub) + b"t"


def is_tombstone(key: bytes) -> bool:
    """Whether this is the engine's key of a deletion."""
    return len(key) == TOMBSTONE_KEY_BYTES


def main_revision(key: bytes) -> int:
    """The main revision of a record."""
    return int.from_bytes(key[:8], "big")


def lower_bound(main: int) -> bytes:
    """Sorts before every record of revision `main`, and after every earlier one."""
    return max(0, main).to_bytes(8, "big")


def is_record_key(key: bytes) -> bool:
    """Whether bytes from outside have the layout of a record's key."""
    return len(key) in (RECORD_KEY_BYTES, TOMBSTONE_KEY_BYTES) and key[8] == 0x5F and key[17:] in (b"", b"t")
