"""Operations come back from a record as they went in, and nothing else passes for a record."""

import asyncio
import random
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import SyncFailed
from runtime.sim import SeededRandomness, SimDisk
from storage.engine import Corruption, DeleteRange, Merge
from storage.lsm.columns import Expiring
from storage.lsm.operations_log import Logged, OperationsLog, decode_operations
from storage.lsm.testing import ManualClock
from storage.wal import Wal

BYTES = st.binary(max_size=20)
OPERATIONS = st.one_of(
    BYTES, st.none(), BYTES.map(DeleteRange), BYTES.map(Merge), st.builds(Expiring, BYTES, st.integers(0, 1 << 50))
)


def told(operation: Logged) -> object:
    if isinstance(operation, DeleteRange):
        return ("range", operation.high)
    if isinstance(operation, Merge):
        return ("merge", operation.operand)
    if isinstance(operation, Expiring):
        return ("expiring", operation.value, operation.expires_ms)
    return operation


async def open_log(disk: SimDisk) -> tuple[OperationsLog, list[tuple[bytes, Logged]]]:
    wal, recovered = await Wal.open(
        disk, "log", random=SeededRandomness(random.Random(1)), clock=ManualClock(), segment_bytes_max=4096
    )
    found = [pair async for lsn, record in recovered for pair in decode_operations(record, "log", lsn)]
    return OperationsLog(wal, 1000), found


async def test_what_was_synced_comes_back_in_order() -> None:
    disk = SimDisk(random.Random(1))
    log, _ = await open_log(disk)
    log.put(b"a", b"1")
    log.put(b"b", None)
    operations: list[tuple[bytes, Logged]] = [
        (b"c", Merge(b"2")),
        (b"d", DeleteRange(b"e")),
        (b"f", Expiring(b"3", 99)),
        (b"g", b"4"),
    ]
    log.write(operations, plain=False)
    await log.sync()
    log.put(b"lost", b"5")
    disk.crash()
    _, found = await open_log(disk)
    expected = [(b"a", b"1"), (b"b", None), *((key, told(operation)) for key, operation in operations)]
    assert [(key, told(operation)) for key, operation in found] == expected


async def test_who_asks_in_one_turn_shares_a_record_and_who_gives_up_takes_nobody_along() -> None:
    disk = SimDisk(random.Random(1))
    log, _ = await open_log(disk)
    waiting = []
    for number in range(5):
        log.put(b"%d" % number, b"")
        waiting.append(asyncio.create_task(log.sync()))
    await asyncio.sleep(0)
    waiting[1].cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(ended[1], asyncio.CancelledError)
    (last,) = {number for number in ended if not isinstance(number, BaseException)}
    assert last == 1
    disk.crash()
    _, found = await open_log(disk)
    assert [key for key, _ in found] == [b"%d" % number for number in range(5)]


async def test_a_failed_sync_is_told_to_all_who_wait_and_to_all_who_come() -> None:
    disk = SimDisk(random.Random(1))
    log, _ = await open_log(disk)
    log.put(b"a", b"")
    disk.fail_syncs = 1
    ended = await asyncio.gather(log.sync(), log.sync(), return_exceptions=True)
    assert [type(end) for end in ended] == [SyncFailed, SyncFailed]
    with pytest.raises(SyncFailed):
        await log.sync()
    with suppress(SyncFailed):
        await log.close()


@given(st.lists(st.tuples(BYTES, OPERATIONS), max_size=20))
async def test_every_operation_survives(operations: list[tuple[bytes, Logged]]) -> None:
    disk = SimDisk(random.Random(1))
    log, _ = await open_log(disk)
    log.write(operations, plain=False)
    await log.close()
    _, found = await open_log(disk)
    assert [(key, told(operation)) for key, operation in found] == [
        (key, told(operation)) for key, operation in operations
    ]


@given(st.binary(max_size=100) | st.lists(st.lists(st.none() | st.integers(0, 9) | BYTES)).map(msgspec.msgpack.encode))
def test_what_is_no_record_is_refused_or_parses_wholly(record: bytes) -> None:
    with suppress(Corruption):
        found = decode_operations(record, "log", 7)
        assert all(isinstance(key, bytes) for key, _operation in found)


async def test_a_batch_beyond_the_limit_is_refused() -> None:
    log, _ = await open_log(SimDisk(random.Random(1)))
    log.check([(b"a", bytes(900))])
    with pytest.raises(ValueError, match="1000"):
        log.check([(b"a", bytes(600)), (b"b", Merge(bytes(600)))])
    await log.close()
