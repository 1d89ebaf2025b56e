"""Looks one key up in layers of different ages."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeAlias

from xxhash import xxh3_64_intdigest

from storage.engine import MergeOperator
from storage.lsm.block import Block
from storage.lsm.columns import SILENCE, Entry, Expiring, Layer, Operands, Silence
from storage.lsm.key_ranges import covers
from storage.lsm.merging import combine, stack
from storage.lsm.read_counters import ReadCounters
from storage.lsm.sorted_run import SortedRun
from storage.lsm.table_reader import TableReader
from structures.blocked_bloom import MASK_SHIFT, masks


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


_Look: TypeAlias = "tuple[array[int], int, list[bytes], list[Block | None], TableReader]"
"""What is needed of a table: filter words and how many, index, blocks in memory, and the table for all else."""


class Lookup:
    """Looks keys up in runs that stay the same for a while: as `find_in`, with the key hashed once for all of them.

    To be made anew whenever there are other runs. What it does for each run is all in one loop, since a call costs as
    much as the look into a filter.
    """

    __slots__ = ("_looks", "_masks", "_operator", "_ranged", "_reads", "_runs")

    def __init__(
        self, runs: Sequence[SortedRun], operator: MergeOperator | None, reads: ReadCounters | None = None
    ) -> None:
        """The runs, newest first. Looks are counted in `reads`."""
        self._reads = reads or ReadCounters()
        self._runs = runs
        self._operator = operator
        self._masks = masks()
        self._ranged = any(run.range_deletes for run in runs)
        self._looks: list[tuple[list[bytes] | None, list[_Look]]] = [
            (
                # One table needs no choice: its filter and its index say what is not in it.
                [table.properties.largest for table in run.tables_with_keys] if len(run.tables_with_keys) > 1 else None,
                [
                    (table.filter_words, len(table.filter_words), table.separators, table.shelf.things, table)
                    for table in run.tables_with_keys
                ],
            )
            for run in runs
            if run.tables_with_keys
        ]

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key, or SILENCE. Raises Corruption and NoMergeOperator. O(runs)."""
        if self._ranged:
            return find_in(self._runs, key, self._operator)
        value = xxh3_64_intdigest(key)
        mask = self._masks[value >> MASK_SHIFT]
        reads = self._reads
        rejected = 0
        for largest, looks in self._looks:
            position = 0
            if largest is not None:
                position = bisect_left(largest, key)
                if position == len(largest):
                    continue
            words, count, separators, blocks, table = looks[position]
            if words[value % count] & mask != mask:
                rejected += 1
                continue
            position = bisect_left(separators, key)
            if position == len(separators):
                reads.filter_false_positives += 1
                continue
            block = blocks[position]
            if block is None:
                block = table.load(position)
            else:
                block.used = True
                reads.block_hits += 1
            try:
                entry = block.find(key)
            except ValueError as error:
                raise table.corrupt(position, error) from error
            if entry is not SILENCE:
                reads.filter_rejects += rejected
                # Operands are rare: they are looked up again, with what is beneath them.
                return find_in(self._runs, key, self._operator) if type(entry) is Operands else entry
            reads.filter_false_positives += 1
        reads.filter_rejects += rejected
        return SILENCE
