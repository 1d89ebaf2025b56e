"""When snapshots are taken, sent and installed, and what they let the log forget.

Taking one: the state is frozen at the applied index (the first chunk is drawn at once, because a generator begins to
run only then), written chunk by chunk beside the normal work, made durable; then a MARK in the log names it; only
when that is durable, too, are older entries forgotten in memory, older files removed, and the log's front dropped. A
crash before the MARK leaves a file that nobody names; after it, everything that the MARK needs.

A state machine that keeps its state on the disk (`Group.is_stored`) needs no file: once what it has applied is
durable, the MARK says that the log before it is not needed. A file is then written only for a member that has to be
sent one, and removed when it has been.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from cluster.raft.core.types import Message, SnapshotMeta
from cluster.raft.driver.group import Group
from cluster.raft.driver.transport import GroupMessage, PeerTransport

if TYPE_CHECKING:
    from cluster.raft.driver.host import RaftHost

REWRITE_BYTES_MAX = 4 << 20
"""An idle group whose live entries are more than this gets a snapshot instead of being written anew."""


class Snapshotting:
    """The snapshots of a host's groups."""

    def __init__(self, host: "RaftHost", transport: PeerTransport) -> None:
        self._host = host
        self._transport = transport
        self._taking: dict[int, asyncio.Task[None]] = {}
        self._installing: dict[int, deque[SnapshotMeta]] = {}
        self._sending: set[tuple[int, int]] = set()
        self._exporting: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.taken = 0
        """How many snapshots were completed."""

    # Taking

    def consider(self, group: Group) -> None:
        """Takes a snapshot when enough was applied since the last one."""
        options = self._host.options
        if group.applied_bytes >= options.snapshot_log_bytes and group.applied_bytes >= (
            options.snapshot_size_factor * group.snapshot_bytes
        ):
            self.take(group)

    def take(self, group: Group) -> None:
        """Starts a snapshot of the state as of now, unless one is under way or there is nothing new."""
        core = group.core
        if group.taking_snapshot or group.restoring or core.applied_index <= group.snapshot.index:
            return
        if group.state_is_ahead:
            return
        group.taking_snapshot = True
        group.applied_bytes = 0
        meta = SnapshotMeta(core.applied_index, group.applied_term, core.configuration)
        make = partial(self._persist, group) if group.is_stored else self._freeze(group, meta)
        self._taking[group.group_id] = self._host.spawn(self._take(group, meta, make), "raft-snapshot")

    def abandon(self, group: Group) -> None:
        """A leader's snapshot replaces the state: the one under way is of no use."""
        task = self._taking.get(group.group_id)
        if task is not None:
            task.cancel()

    def _freeze(self, group: Group, meta: SnapshotMeta) -> Callable[[], Awaitable[int]]:
        """Takes hold of the state as of now, and gives what writes it to a file and returns its size in bytes."""
        chunks = group.machine.snapshot()
        first = next(chunks, b"")
        return partial(self._host.store.write, group.group_id, meta, _chain(first, chunks))

    async def _persist(self, group: Group) -> int:
        await group.machine.persist()
        return 0

    async def _take(self, group: Group, meta: SnapshotMeta, make: Callable[[], Awaitable[int]]) -> None:
        host = self._host
        try:
            size = await make()
            if group.restoring or meta.index <= group.snapshot.index:
                return
            base_index = min(meta.index - host.options.trailing_entries, group.log.last_index())
            base_index = max(base_index, group.log.first_index() - 1)
            group.snapshot = meta
            group.snapshot_bytes = size
            durable = asyncio.Event()
            host.log.add_mark(group, base_index, group.log.term(base_index), reset=False, then=durable.set)
            await durable.wait()
            if group.snapshot != meta:
                # A leader's snapshot was named right after this one.
                return
            group.log.set_snapshot(meta)
            group.log.compact(base_index)
            self.taken += 1
            await host.store.remove_older(group.group_id, meta)
        finally:
            group.taking_snapshot = False
            self._taking.pop(group.group_id, None)
        self._release_pins(group)
        await host.drop_log_front()

    def _release_pins(self, busy: Group) -> None:
        """Moves the group that holds back the log's front, when the log has grown long and it is not `busy`."""
        host = self._host
        if host.wal.bytes_total < host.options.pin_bytes_max:
            return
        slowest = min(host.groups.values(), key=lambda group: group.spans.floor)
        if slowest is busy or slowest.restoring or slowest.writes_in_flight:
            return
        log = slowest.log
        entries = log.entries(log.first_index(), log.last_index() + 1, REWRITE_BYTES_MAX)
        if len(entries) == log.last_index() + 1 - log.first_index():
            host.log.rewrite(slowest)
        else:
            self.take(slowest)

    # Installing

    def install(self, group: Group, meta: SnapshotMeta) -> None:
        """A leader's snapshot is durable and named by the log: the state machine follows, one at a time."""
        waiting = self._installing.get(group.group_id)
        if waiting is not None:
            waiting.append(meta)
            return
        self._installing[group.group_id] = deque([meta])
        self._host.spawn(self._install(group), "raft-restore")

    async def _install(self, group: Group) -> None:
        waiting = self._installing[group.group_id]
        while waiting:
            meta = waiting.popleft()
            await self._host.restore(group.machine, group.group_id, meta)
            group.end_restore(meta)
            self._host.schedule(group)
            await self._host.store.remove_older(group.group_id, meta)
        del self._installing[group.group_id]

    # Sending

    def send(self, group: Group, message: Message) -> None:
        """The core wants `message.target` to have a snapshot; one transfer to a member at a time."""
        key = (group.group_id, message.target)
        if key in self._sending:
            return
        self._sending.add(key)
        self._host.spawn(self._send(group, message), "raft-send-snapshot")

    async def _send(self, group: Group, message: Message) -> None:
        if group.is_stored:
            # One at a time: each is written for its own receiver, and two would only be slower.
            async with self._exporting[group.group_id]:
                await self._send_stored(group, message)
            return
        # The newest file may be newer than what the core announced, and the older one gone.
        await self._transfer(group, message, group.log.snapshot())

    async def _send_stored(self, group: Group, message: Message) -> None:
        core, meta = group.core, group.log.snapshot()
        if not (group.restoring or group.state_is_ahead):
            meta = SnapshotMeta(core.applied_index, group.applied_term, core.configuration)
            await self._freeze(group, meta)()
        await self._transfer(group, message, meta)
        await self._host.store.remove(group.group_id, meta)

    async def _transfer(self, group: Group, message: Message, meta: SnapshotMeta) -> None:
        key = (group.group_id, message.target)
        announcement = Message(
            message.kind,
            message.source,
            message.target,
            message.term,
            snapshot=meta,
        )
        installed = False
        try:
            source = await self._host.store.source(group.group_id, meta)
            try:
                installed = await self._transport.send_snapshot(
                    message.target, GroupMessage(group.group_id, announcement), source
                )
            finally:
                await source.close()
        except FileNotFoundError:
            # Replaced in this very moment by a newer one: the core asks again.
            pass
        finally:
            self._sending.discard(key)
        group.core.report_snapshot(message.target, installed)
        self._host.schedule(group)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """`first`, then the rest, closing a generator when this one is closed."""
    try:
        yield first
        yield from rest
    finally:
        close = getattr(rest, "close", None)
        if close is not None:
            close()
