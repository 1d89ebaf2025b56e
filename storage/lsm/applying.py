"""What operations of every kind do to the memtable in use; plain puts and batches take a shorter way."""

from collections.abc import Mapping, Sequence

from storage.engine import DeleteRange, Merge, MergeOperator, NoMergeOperator
from storage.lsm.columns import SILENCE, Entry, Expiring, Operands, Silence
from storage.lsm.memtable import MEMTABLE_ENTRY_BYTES, Memtable, bytes_of
from storage.lsm.operations_log import Logged

OPERANDS_MAX = 64
"""So many operands of a key are combined into one."""


def apply(
    memtable: Memtable,
    operations: Sequence[tuple[bytes, Logged]],
    operator: MergeOperator | None,
    *,
    expiring_beneath: Mapping[bytes, Expiring],
    nothing_beneath: bool,
    now_ms: int,
) -> list[tuple[bytes, Logged]]:
    """Applies operations in order, and gives what the log should hold.

    Merges that met a value which expires are told to the log by their outcome: told as merges, they would come to
    something else when the log is read at another time. `expiring_beneath` has, of the keys that are merged, those
    for which older layers hold a value that expires. Raises NoMergeOperator; look at that before.
    """
    told = list(operations)
    entries = memtable.entries
    memtable.plain = False
    for position, (key, operation) in enumerate(operations):
        if operation is None or isinstance(operation, bytes):
            entries[key] = operation
        elif isinstance(operation, Expiring):
            entries[key] = operation
            memtable.expiring = True
        elif isinstance(operation, DeleteRange):
            memtable.delete_range(key, operation.high)
        else:
            before = entries.get(key, SILENCE)
            covered = nothing_beneath or memtable.covers(key)
            if before is SILENCE and not covered:
                before = expiring_beneath.get(key, SILENCE)
            entry = entries[key] = _merged(before, operation.operand, operator, covered=covered, now_ms=now_ms)
            if isinstance(before, Expiring):
                assert not isinstance(entry, Operands)
                told[position] = (key, entry)
                memtable.expiring = True
    return told


def _merged(
    before: Entry | Silence, operand: bytes, operator: MergeOperator | None, *, covered: bool, now_ms: int
) -> Entry:
    """The entry that an operand makes of the present one; `covered` when nothing older counts.

    A value that expires takes operands at once and goes on to expire: operands that waited above it would not know,
    later, whether they came before or after its end.
    """
    if operator is None:
        raise NoMergeOperator("the engine was opened without a merge operator")
    if isinstance(before, bytes):
        return operator.combine([before, operand])
    if isinstance(before, Operands):
        before.operands.append(operand)
        if len(before.operands) > OPERANDS_MAX:
            before.operands[:] = [operator.combine(before.operands)]
        return before
    if before is SILENCE and not covered:
        return Operands([operand])
    if isinstance(before, Expiring) and before.expires_ms > now_ms:
        return Expiring(operator.combine([before.value, operand]), before.expires_ms)
    return operator.combine([operand])


def bytes_taken_by(operations: Sequence[tuple[bytes, Logged]]) -> int:
    """What operations take in a memtable, about."""
    return sum(MEMTABLE_ENTRY_BYTES + len(key) + _operation_bytes(operation) for key, operation in operations)


def _operation_bytes(operation: Logged) -> int:
    if isinstance(operation, DeleteRange):
        return len(operation.high)
    if isinstance(operation, Merge):
        return len(operation.operand)
    return bytes_of(operation)
