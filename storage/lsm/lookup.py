"""Looks one key up in layers of different ages."""

from collections.abc import Sequence
from typing import Protocol

from xxhash import xxh3_64_intdigest

from storage.engine import MergeOperator
from storage.lsm.columns import SILENCE, Entry, Expiring, Layer, Operands, Silence
from storage.lsm.key_ranges import covers
from storage.lsm.merging import combine, stack


class HashedLayer(Layer, Protocol):
    """A layer that can be spared the hashing of the key."""

    def find_hashed(self, key: bytes, value: int) -> Entry | Silence:
        """As `find`; `value` is the key's xxh3_64_intdigest."""
        ...


def find_in(layers: Sequence[Layer], key: bytes, operator: MergeOperator | None) -> Entry | Silence:
    """What the layers, newest first, say of a key together; SILENCE when all of them are silent.

    Operands remain when nothing older than they was found. Raises Corruption and NoMergeOperator. O(layers).
    """
    for position, layer in enumerate(layers):
        entry = layer.find(key)
        if entry is not SILENCE:
            return _beneath(layers, position, key, entry, operator) if isinstance(entry, Operands) else entry
        if layer.range_deletes and covers(layer.range_deletes, key):
            return None
    return SILENCE


def _beneath(
    layers: Sequence[Layer], position: int, key: bytes, operands: Operands, operator: MergeOperator | None
) -> Entry:
    """What operands of `layers[position]` make of what is beneath it."""
    ranges = layers[position].range_deletes
    if ranges and covers(ranges, key):
        return stack(operands, None, operator)
    older = find_in(layers[position + 1 :], key, operator)
    return operands if older is SILENCE else stack(operands, older, operator)


def value_of(entry: Entry | Silence, operator: MergeOperator | None, now_ms: int) -> bytes | None:
    """What a reader sees of a key of which all layers together say `entry`. Raises NoMergeOperator."""
    if isinstance(entry, bytes):
        return entry
    if entry is None or entry is SILENCE:
        return None
    if isinstance(entry, Expiring):
        return None if entry.expires_ms <= now_ms else entry.value
    return combine(operator, entry.operands)


class Lookup:
    """Looks keys up in layers that stay the same for a while: as `find_in`, with the key hashed once for all of them.

    To be made anew whenever the set of layers changes.
    """

    __slots__ = ("_finds", "_layers", "_operator")

    def __init__(self, layers: Sequence[HashedLayer], operator: MergeOperator | None) -> None:
        """The layers, newest first: tables and runs, whose content and range deletes do not change."""
        self._layers = layers
        self._operator = operator
        self._finds = [(layer.find_hashed, layer.range_deletes) for layer in layers]

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key, or SILENCE. Raises Corruption and NoMergeOperator. O(layers)."""
        value = xxh3_64_intdigest(key)
        for find, range_deletes in self._finds:
            entry = find(key, value)
            if entry is not SILENCE:
                # Operands are rare: they are looked up again, with the layers beneath.
                return find_in(self._layers, key, self._operator) if type(entry) is Operands else entry
            if range_deletes and covers(range_deletes, key):
                return None
        return SILENCE
