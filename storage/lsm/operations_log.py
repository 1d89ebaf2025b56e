"""The engine's own log: operations on their way to the write-ahead log, and back at opening.

Operations are gathered until somebody asks for a sync, there are OPERATIONS_MAX, or LAZY_DELAY_S has passed, and then
become one record: a record per put would cost more than everything else that a put does. A record is whole or absent
after a crash, and batches are never cut, so a crash leaves whole batches.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from storage.engine import Corruption, DeleteRange, Merge, Operation
from storage.lsm.columns import Expiring
from storage.wal import Wal, WalFull

OPERATIONS_MAX = 2048
"""Gathered for one record, unless one batch holds more."""
LAZY_DELAY_S = 0.02
"""Operations wait so long for company before they go to the log."""
_MERGE, _DELETE_RANGE, _EXPIRING = 1, 2, 3

Logged = Operation | Expiring
_Packed = tuple[bytes, bytes | None] | tuple[bytes, int, bytes] | tuple[bytes, int, bytes, int]


class OperationsLog:
    """Writes operations to a `Wal` that is open."""

    def __init__(self, wal: Wal, batch_bytes_max: int) -> None:
        self._wal = wal
        self._batch_bytes_max = batch_bytes_max
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Packed] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._waiters: list[asyncio.Future[int]] = []
        """Who has asked for a sync in this turn. Each has a future of its own: one who gives up cancels no other's."""
        self.unwritten_bytes = 0
        """What the log has taken and not written yet. `throttle` keeps it within bounds."""

    @property
    def bytes_total(self) -> int:
        """What the log takes on the disk."""
        return self._wal.bytes_total

    def put(self, key: bytes, value: bytes | None) -> None:
        """Takes a put or a deletion."""
        gathered = self._gathered
        gathered.append((key, value))
        if len(gathered) == 1:
            self._timer = self._loop.call_later(LAZY_DELAY_S, self._cut_late)
        elif len(gathered) >= OPERATIONS_MAX:
            self.cut()

    def write(self, operations: Sequence[tuple[bytes, Logged]], *, plain: bool) -> None:
        """Takes what must stay together."""
        if not self._gathered and operations:
            self._timer = self._loop.call_later(LAZY_DELAY_S, self._cut_late)
        self._gathered += operations if plain else map(_pack, operations)  # type: ignore[arg-type]  # plain ones pack as they are
        if len(self._gathered) >= OPERATIONS_MAX:
            self.cut()

    def check(self, operations: Sequence[tuple[bytes, Logged]]) -> None:
        """Raises ValueError for a batch that does not fit into a record."""
        size = sum(len(key) + 16 + _value_bytes(operation) for key, operation in operations)
        if size > self._batch_bytes_max:
            raise ValueError(f"a batch of {size} bytes; with a log the limit is {self._batch_bytes_max}")

    def cut(self) -> int:
        """Hands what was gathered to the log. Returns the number of its last record. Raises SyncFailed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            record = msgspec.msgpack.encode(gathered)
            self.unwritten_bytes += len(record)
            self._wal.append([record], sync=False).add_done_callback(partial(self._written, len(record)))
        return self._wal.next_lsn - 1

    async def sync(self) -> int:
        """Makes everything taken so far durable, by one sync for all who wait. Returns the last record's number.

        Whoever asks in one turn of the event loop shares a record, too. Raises SyncFailed.
        """
        waiter: asyncio.Future[int] = self._loop.create_future()
        if not self._waiters:
            self._loop.call_soon(self._sync_turn)
        self._waiters.append(waiter)
        return await waiter

    def _sync_turn(self) -> None:
        waiters, self._waiters = self._waiters, []
        try:
            self.cut()
            durable = self._wal.append([])
        except (OSError, RuntimeError, ValueError, WalFull) as error:
            _tell(waiters, error)
            return
        durable.add_done_callback(partial(_pass_on, waiters))

    def _written(self, size: int, _done: "asyncio.Future[int]") -> None:
        self.unwritten_bytes -= size

    def _cut_late(self) -> None:
        self._timer = None
        if self._wal.failure is None and not self._closed:
            self.cut()

    async def drop_through(self, lsn: int) -> None:
        """Lets go of the segments that hold nothing behind record `lsn`."""
        await self._wal.drop_before(lsn + 1)

    async def close(self) -> None:
        """Writes what was gathered, and closes the log. Raises SyncFailed."""
        if self._closed:
            return
        try:
            if self._wal.failure is None:
                await self.sync()
        finally:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            await self._wal.close()


def _pass_on(waiters: list["asyncio.Future[int]"], durable: "asyncio.Future[int]") -> None:
    if durable.cancelled():
        for waiter in waiters:
            waiter.cancel()
        return
    error = durable.exception()
    if error is not None:
        _tell(waiters, error)
        return
    last = durable.result()
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(last)


def _tell(waiters: list["asyncio.Future[int]"], error: BaseException) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def decode_operations(record: bytes, directory: str, lsn: int) -> list[tuple[bytes, Logged]]:
    """The operations of a record. Raises Corruption for one that no engine wrote."""
    try:
        packed = msgspec.msgpack.decode(record, type=list[list[bytes | int | None]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corruption(directory, lsn, f"record {lsn} does not parse: {error}") from error
    return [_unpack(item, directory, lsn) for item in packed]


def _value_bytes(operation: Logged) -> int:
    if operation is None:
        return 0
    if isinstance(operation, bytes):
        return len(operation)
    if isinstance(operation, DeleteRange):
        return len(operation.high)
    if isinstance(operation, Merge):
        return len(operation.operand)
    return len(operation.value) + 8


def _pack(item: tuple[bytes, Logged]) -> _Packed:
    key, operation = item
    if operation is None or isinstance(operation, bytes):
        return key, operation
    if isinstance(operation, Merge):
        return key, _MERGE, operation.operand
    if isinstance(operation, DeleteRange):
        return key, _DELETE_RANGE, operation.high
    return key, _EXPIRING, operation.value, operation.expires_ms


def _unpack(item: list[bytes | int | None], directory: str, lsn: int) -> tuple[bytes, Logged]:
    match item:
        case [bytes() as key, (bytes() | None) as value]:
            return key, value
        case [bytes() as key, int(kind), bytes() as operand] if kind == _MERGE:
            return key, Merge(operand)
        case [bytes() as low, int(kind), bytes() as high] if kind == _DELETE_RANGE:
            return low, DeleteRange(high)
        case [bytes() as key, int(kind), bytes() as value, int(expires_ms)] if kind == _EXPIRING:
            return key, Expiring(value, expires_ms)
    raise Corruption(directory, lsn, f"record {lsn} holds an operation of no known kind")
