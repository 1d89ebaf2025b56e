"""A host: many groups in one process, over one write-ahead log, one transport and one clock.

A turn of the loop, which never waits in its midst:

    1. what the log has finished since: messages that had to wait for it go out, cores count it
    2. ticks (a few at the most, see HostOptions.ticks_per_turn_max), messages of peers, proposals, reads
    3. every group that has work gives its Readys: messages are gathered by peer, records for the log in one list,
       committed entries applied
    4. one batch to each peer, and then one append to the log for all groups

Where the disk is quick, and nothing else is to be done, the log is written on the spot (`Wal.append_now`), and a second
turn right behind it says what had to wait for it: a follower's acknowledgement leaves without another way through the
event loop, and a leader's entries are on their way to the others before its own disk is asked. Otherwise the append is
not awaited: the next turn may queue another one while the sync is in flight, and the log groups them. Appends finish in
order, so `persisted` is called in the order of the Readys. A commit index that merely moved is kept until the next
record that must be synced (contract: `Ready.must_sync`).

Whatever fails ends the host: `run` raises it. A failed sync (SyncFailed) in particular is never retried, as nothing
is known any more of what the disk holds; a state machine that raises would be wrong from there on.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from cluster.raft.core.types import Entry, Message, MessageKind, Ready, Role, SnapshotMeta, Stage, Standing
from cluster.raft.driver import condemned
from cluster.raft.driver.boot import OpenedLog, open_log
from cluster.raft.driver.errors import HostStopped, ReplicaCorrupted
from cluster.raft.driver.group import Group, GroupMachine
from cluster.raft.driver.holding_back import HeldBack
from cluster.raft.driver.incoming import IncomingSnapshots
from cluster.raft.driver.log_queue import LogQueue
from cluster.raft.driver.opening import Opening
from cluster.raft.driver.options import HostOptions
from cluster.raft.driver.snapshots import SnapshotStore
from cluster.raft.driver.snapshotting import Snapshotting
from cluster.raft.driver.transport import GroupMessage, PeerTransport, SnapshotChunk, SnapshotReceipt
from runtime import Runtime, SyncFailed

_log = logging.getLogger(__name__)

HAND_OVER_POLL_S = 0.005
"""How often a planned stop looks whether leadership has moved."""


class HostCounters:
    """What a host counts; they only grow. Gauges are computed where they are asked for."""

    __slots__ = ("messages_dropped", "messages_received", "readies", "snapshots_installed", "turns")

    def __init__(self) -> None:
        self.turns = 0
        self.readies = 0
        self.messages_received = 0
        self.messages_dropped = 0
        self.snapshots_installed = 0


class RaftHost:
    """Owns the disk, the transport and the groups. Make it with `open`, add groups, then `run` it in a task."""

    def __init__(
        self,
        runtime: Runtime,
        directory: str,
        member_id: int,
        transport: PeerTransport,
        options: HostOptions,
        opened: OpenedLog,
        *,
        may_rebuild: bool,
    ) -> None:
        """Use `open`."""
        wal = opened.wal
        self.member_id = member_id
        self.options = options
        self.incarnation = opened.incarnation
        """This life's number, greater than that of every earlier life of this data directory."""
        self.groups: dict[int, Group] = {}
        self.counters = HostCounters()
        self.wal = wal
        self.store = SnapshotStore(runtime.disk, f"{directory}/snapshots")
        self._runtime = runtime
        self._transport = transport
        self._opening = Opening(self, runtime, directory, opened, may_rebuild=may_rebuild)
        self._incoming = IncomingSnapshots(self.store)
        self._snapshotting = Snapshotting(self, transport)
        self._inbox: list[GroupMessage] = []
        self._inbox_bytes = 0
        self._scheduled: list[Group] = []
        self._outbox: defaultdict[int, list[GroupMessage]] = defaultdict(list)
        self._postponed: list[tuple[Group, list[Entry]]] = []
        """Committed entries that are applied once the turn's records are with the log."""
        self._unreachable: set[int] = set()
        self._ticks = 0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._tick_next_s = 0.0
        self._held = HeldBack(options.hold_back_s)
        self._held_timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self.log = LogQueue(wal, self._wake.set, self._fail)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = False
        transport.attach(self)

    @staticmethod
    async def open(
        runtime: Runtime,
        directory: str,
        *,
        member_id: int,
        transport: PeerTransport,
        options: HostOptions | None = None,
        may_rebuild: bool = False,
        observe_sync: Callable[[float], None] | None = None,
    ) -> "RaftHost":
        """Locks the directory, reads the log back, and draws this life's incarnation.

        With `may_rebuild`, what is damaged is moved aside, and the groups are rebuilt from their other members; for
        groups that can do without one. `observe_sync` is told how long each synced write of the log took, in seconds.
        Raises DirectoryInUse, ReplicaCorrupted, SyncFailed, OSError.
        """
        disk = runtime.disk
        await disk.make_directory(directory)
        await disk.sync_directory(directory.rpartition("/")[0] or ".")
        await disk.lock(f"{directory}/lock")
        options = options or HostOptions()
        await condemned.finish_moving(disk, directory)
        try:
            opened = await open_log(runtime, directory, options, observe_sync)
        except ReplicaCorrupted as damage:
            if not may_rebuild:
                raise
            await condemned.condemn(disk, directory, damage)
            opened = await open_log(runtime, directory, options, observe_sync)
        return RaftHost(runtime, directory, member_id, transport, options, opened, may_rebuild=may_rebuild)

    async def add_group(self, group_id: int, machine: GroupMachine, *, voters: Sequence[int]) -> Group:
        """Opens a group that the log knows, restoring its state machine; or founds it with `voters`.

        For a group that is known, `voters` is ignored, unless it has to be rebuilt.
        Raises ReplicaCorrupted, SyncFailed, ValueError.
        """
        if group_id in self.groups or self._ended.done():
            raise ValueError(f"group {group_id} is open already, or the host has ended")
        group = await self._opening.open(group_id, machine, voters)
        self.groups[group_id] = group
        voters_now = group.core.configuration
        if voters_now.voters == {self.member_id} and not voters_now.voters_outgoing:
            # Nobody else could lead: there is nothing to wait for.
            group.core.campaign()
        self.schedule(group)
        return group

    async def restore(self, machine: GroupMachine, group_id: int, meta: SnapshotMeta) -> None:
        """Fills a state machine from a snapshot file. Raises ReplicaCorrupted."""
        path = self.store.path(group_id, meta)
        chunks = self.store.read(path, group_id, meta)
        try:
            await machine.restore(chunks, meta.index)
        except ValueError as error:
            raise ReplicaCorrupted(path, 0, f"the state machine refused it: {error}") from error
        finally:
            await chunks.aclose()

    def knows(self, group_id: int) -> bool:
        """Whether the log has a group that is not open yet. If not, what is stored elsewhere for it is void."""
        return group_id in self._opening.recovered

    @property
    def condemned(self) -> tuple[str, ...]:
        """Where damaged logs are kept, oldest first; see driver.condemned."""
        return self._opening.condemned

    # Life

    async def run(self) -> None:
        """Serves until `stop`. Raises whatever ended the host: SyncFailed, ReplicaCorrupted, a state machine's bug.

        Cancelling it is a crash: nothing more is written.
        """
        self.spawn(self._loop(), "raft-loop")
        self.spawn(self._transport.run(), "raft-transport")
        if self.options.tick_s is not None:
            self._tick_next_s = asyncio.get_running_loop().time() + self.options.tick_s
            self._set_tick_timer()
        try:
            await asyncio.shield(self._ended)
        finally:
            self._stopping = True
            if self._tick_timer is not None:
                self._tick_timer.cancel()
            if self._held_timer is not None:
                self._held_timer.cancel()
            if not self._ended.done():
                self._ended.cancel()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            for group in self.groups.values():
                group.machine.stopped()
            if tasks:
                await asyncio.wait(tasks)

    async def stop(self) -> None:
        """Ends `run`, writes the commit indexes that were kept back, and closes the log. Raises SyncFailed."""
        if not self._ended.done():
            self._ended.set_result(None)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for group in self.groups.values():
            group.machine.stopped()
        if self.wal.failure is None:
            await self.log.save_hard_states(self.groups.values())
        await self.wal.close()

    async def hand_over(self, *, timeout_s: float) -> None:
        """Moves leadership of every group to the member that is furthest along, so that a planned stop costs no
        election timeout. Gives up silently after `timeout_s`."""
        waiting = []
        for group in self.groups.values():
            core = group.core
            if core.role is Role.LEADER and not self._ended.done():
                others = [
                    (progress.match, member)
                    for member, progress in core.progress.items()
                    if member in core.configuration.voters
                    and member != self.member_id
                    and progress.recent_active
                    and progress.counts
                ]
                if others:
                    core.transfer_leadership(max(others)[1])
                    self.schedule(group)
                    waiting.append(core)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while any(core.role is Role.LEADER for core in waiting) and loop.time() < deadline_s:
            if self._ended.done():
                return
            await asyncio.sleep(HAND_OVER_POLL_S)

    def spawn(self, work: Coroutine[object, None, None], name: str) -> asyncio.Task[None]:
        """Runs something whose failure is the host's."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    # Input

    def schedule(self, group: Group) -> None:
        """The group has something to do in the next turn."""
        if not group.scheduled:
            group.scheduled = True
            self._scheduled.append(group)
            self._wake.set()

    def tick(self, count: int = 1) -> None:
        """Lets time pass, for hosts whose options set no `tick_s`."""
        self._ticks += count
        self._wake.set()

    def receive(self, messages: Sequence[GroupMessage]) -> None:
        """See transport.Receiver."""
        if self._inbox_bytes > self.options.inbox_bytes_max:
            self.counters.messages_dropped += len(messages)
            return
        self.counters.messages_received += len(messages)
        self._inbox.extend(messages)
        for _, message in messages:
            for entry in message.entries:
                self._inbox_bytes += len(entry[3])
        self._wake.set()

    def unreachable(self, member: int) -> None:
        """See transport.Receiver."""
        self._unreachable.add(member)
        self._wake.set()

    async def receive_snapshot(self, chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
        """See transport.Receiver. The receipt says installed once the snapshot is this member's durable state."""
        first = await anext(aiter(chunks), None)
        announcement = first.announcement if first is not None else None
        if first is None or announcement is None:
            raise ValueError("a snapshot stream must begin with its announcement")
        group = self.groups.get(announcement.group)
        meta = announcement.message.snapshot
        if group is None or meta is None or announcement.message.target != self.member_id or self._ended.done():
            raise ValueError("the snapshot is not for a group of this host")
        if meta.index <= group.core.commit_index:
            # It brings nothing: the leader hears by stepping the announcement in, which answers with the commit.
            self._step(group, announcement.message)
            return SnapshotReceipt(0, True)
        try:
            receipt, whole = await self._incoming.receive(first, announcement, chunks)
        except SyncFailed as error:
            self._fail(error)
            raise
        if not whole:
            return receipt
        self._step(group, announcement.message)
        await self.flushed()
        self.counters.snapshots_installed += 1
        return SnapshotReceipt(receipt.received_bytes, True)

    def _step(self, group: Group, message: Message) -> None:
        self._inbox.append(GroupMessage(group.group_id, message))
        self._wake.set()

    async def flushed(self) -> None:
        """Returns once everything that was put in before is durable. Raises SyncFailed, HostStopped."""
        turn = self.counters.turns
        self._wake.set()
        while self.counters.turns == turn:
            if self._ended.done():
                raise HostStopped("the host has ended")
            await asyncio.sleep(0)
        await self.log.barrier()

    # The loop

    def _set_tick_timer(self) -> None:
        self._tick_timer = asyncio.get_running_loop().call_at(self._tick_next_s, self._on_tick_timer)

    def _on_tick_timer(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = self.options.tick_s or 1.0
        late = int((loop.time() - self._tick_next_s) / tick_s)
        self._tick_next_s += (late + 1) * tick_s
        # What a stall swallowed beyond the cap is forgotten, not made up for later.
        self._ticks = min(self._ticks + late + 1, self.options.ticks_per_turn_max)
        self._wake.set()
        self._set_tick_timer()

    async def _loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._turn():
                # The messages leave the process before the disk is waited for: their receivers work meanwhile.
                await asyncio.sleep(0)
            # Where there is more to do already, it is done while another thread waits for the disk.
            if self.log.append(on_the_spot=not self._wake.is_set()):
                # It is durable already: what was not to be said before is said now, and not a turn later.
                self._turn()
                if self.log.has_gathered:
                    self._wake.set()
            if self._postponed:
                self._apply_postponed()
            # Readers of sockets and timers get their chance even when there is always more to do.
            await asyncio.sleep(0)

    def _turn(self) -> bool:
        """Returns whether messages were sent."""
        self.counters.turns += 1
        self._finish_appends()
        if self._unreachable:
            self._report_unreachable()
        if self._inbox:
            self._step_inbox()
        if self._ticks:
            self._tick_groups()
        scheduled, self._scheduled = self._scheduled, []
        for group in scheduled:
            group.scheduled = False
            group.take_input()
            self._take_readies(group)
        if not self._outbox:
            return False
        outbox, self._outbox = self._outbox, defaultdict(list)
        for target, messages in outbox.items():
            self._transport.send(target, self._held.join(target, messages))
        return True

    def _send_held(self) -> None:
        """What was held back long enough goes out, and the rest is waited for."""
        loop = asyncio.get_running_loop()
        self._held_timer = None
        for target, messages in self._held.take_due(loop.time()).items():
            self._transport.send(target, messages)
        due_s = self._held.due_s
        if due_s is not None:
            self._held_timer = loop.call_at(due_s, self._send_held)

    def _report_unreachable(self) -> None:
        members, self._unreachable = self._unreachable, set()
        for group in self.groups.values():
            for member in members:
                group.core.report_unreachable(member)

    def _step_inbox(self) -> None:
        inbox, self._inbox, self._inbox_bytes = self._inbox, [], 0
        groups = self.groups
        for group_id, message in inbox:
            group = groups.get(group_id)
            if group is None or message.target != self.member_id:
                self.counters.messages_dropped += 1
                continue
            self._held.heard(group.core, message)
            group.core.step(message)
            if not group.scheduled:
                group.scheduled = True
                self._scheduled.append(group)

    def _tick_groups(self) -> None:
        ticks, self._ticks = self._ticks, 0
        self._held.ticked(ticks)
        for group in self.groups.values():
            for _ in range(ticks):
                group.core.tick()
                group.machine.ticked()
            if not group.scheduled:
                group.scheduled = True
                self._scheduled.append(group)

    def _take_readies(self, group: Group) -> None:
        core = group.core
        for _ in range(self.options.readies_per_turn_max):
            if not core.has_ready():
                return
            self._take_ready(group, core.ready())
        self.schedule(group)

    def _take_ready(self, group: Group, ready: Ready) -> None:
        self.counters.readies += 1
        term_changed = ready.hard_state is not None and ready.hard_state.term != group.hard_state.term
        if ready.hard_state is not None:
            group.hard_state = ready.hard_state
            group.hard_state_unsaved = True
        if ready.messages:
            self._send(group, ready.messages)
        if ready.must_sync or group.writes_in_flight:
            if ready.snapshot is not None:
                self._snapshotting.abandon(group)
                group.begin_restore()
            self.log.add_ready(group, ready)
            if ready.standing is not None:
                self._standing_changed(group, ready.standing)
        else:
            # Nothing to write and nothing in flight: it is as durable as it will ever be.
            self._persisted(group, ready)
        if ready.committed:
            if (ready.must_sync and group.core.role is not Role.LEADER) or any(
                other is group for other, _ in self._postponed
            ):
                # The leader waits for this member's acknowledgement, and hardly anybody for its state. A leader's own
                # callers do wait.
                self._postponed.append((group, ready.committed))
            else:
                self._apply(group, ready.committed)
        if ready.read_states:
            group.machine.reads_ready(ready.read_states)
        if ready.soft_state is not None or term_changed:
            group.machine.leadership_changed()

    def _apply(self, group: Group, committed: list[Entry]) -> None:
        group.apply(committed)
        if group.machine.must_pause:
            group.begin_pause()
            self.spawn(self._pause(group), "raft-pause")
        self._snapshotting.consider(group)

    def _apply_postponed(self) -> None:
        postponed, self._postponed = self._postponed, []
        for group, committed in postponed:
            self._apply(group, committed)
            # What was applied may let the core hand out more.
            self.schedule(group)

    async def _pause(self, group: Group) -> None:
        """Applying waits for the disk under the state; all else of the group goes on."""
        while True:
            await group.machine.pause()
            group.end_pause()
            self.schedule(group)
            if not group.machine.must_pause:
                return
            group.begin_pause()

    def _standing_changed(self, group: Group, standing: Standing) -> None:
        # Not before its record is queued: a MARK of the same Ready must not say more than the entries behind it.
        before, group.standing = group.standing, standing
        if standing.stage is before.stage:
            return
        about = {"group": group.group_id, "life": f"{standing.life:x}"}
        if standing.stage is Stage.RECOVERING:
            _log.warning("this member had another log, and lost it: it rebuilds before it votes", extra=about)
        elif before.stage is Stage.RECOVERING:
            _log.info("this member has rebuilt what it lost, and takes part", extra=about)
        else:
            _log.info("this member is new, and takes part", extra=about)

    def _send(self, group: Group, messages: list[Message]) -> None:
        for message in messages:
            kind = message.kind
            if kind is MessageKind.SNAPSHOT:
                self._snapshotting.send(group, message)
            elif kind is not MessageKind.APPEND or not self._hold_back(group, message):
                self._outbox[message.target].append(GroupMessage(group.group_id, message))

    def _hold_back(self, group: Group, message: Message) -> bool:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if not self._held.hold(group.group_id, group.core, message, now_s):
            return False
        if self._held_timer is None:
            self._held_timer = loop.call_at(self._held.due_s or now_s, self._send_held)
        return True

    # The log

    def _finish_appends(self) -> None:
        for group, ready, then in self.log.take_finished():
            if ready is not None:
                self._persisted(group, ready)
            if then is not None:
                then()
            if not group.scheduled:
                group.scheduled = True
                self._scheduled.append(group)

    def _persisted(self, group: Group, ready: Ready) -> None:
        """A Ready is durable: lets the log have it, then the core count it, then the promises go out."""
        if ready.snapshot is not None:
            group.log.apply_snapshot(ready.snapshot)
            self._snapshotting.install(group, ready.snapshot)
        if ready.entries:
            group.log.append(ready.entries)
        group.core.persisted(ready)
        if ready.messages_after_persist:
            self._send(group, ready.messages_after_persist)

    async def drop_log_front(self) -> None:
        """Removes the log's segments that no group needs. Groups that are not open yet are held, too."""
        needed = [group.spans for group in self.groups.values()]
        needed += [recovered.spans for recovered in self._opening.recovered.values()]
        await self.log.drop_front(needed)
