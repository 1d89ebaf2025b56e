"""Ranges of keys."""


def prefix_end(prefix: bytes) -> bytes:
    """The end, exclusive, of the range of all keys that begin with `prefix`.

    If all its bytes are 0xff that is "\\0", which means no end.
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"\0"
