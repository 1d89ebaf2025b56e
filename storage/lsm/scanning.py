"""Pairs out of layers: what a scan gives."""

from collections.abc import Iterator, Sequence

from storage.engine import MergeOperator
from storage.lsm.columns import Layer
from storage.lsm.merging import merge
from storage.lsm.version import Version

Pairs = Iterator[tuple[bytes, bytes]]


def pairs(
    layers: Sequence[Layer],
    version: Version,
    low: bytes | None,
    high: bytes | None,
    *,
    reverse: bool,
    operator: MergeOperator | None,
    now_ms: int,
) -> Iterator[Pairs]:
    """Groups of pairs, each a `zip` that runs in C; the first is empty.

    Holds the version from the first group until it ends, is closed, or nobody has it any more: whoever makes it must
    take that first group at once.
    """
    version.hold()
    try:
        yield iter(())
        for columns in merge(layers, low, high, reverse=reverse, operator=operator, now_ms=now_ms):
            if reverse:
                yield zip(reversed(columns.keys), reversed(columns.entries), strict=True)  # type: ignore[arg-type]
            else:
                # Merging for a reader leaves values only.
                yield zip(columns.keys, columns.entries, strict=True)  # type: ignore[arg-type]
    finally:
        version.release()
