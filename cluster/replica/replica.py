"""A replica of one group: what stands between a service and consensus.

The way of a command: `propose` gives it a number and leaves it to the group; the next turn of the host puts it into
an envelope (see sessions) and into the log, with all others of that turn; when it is committed, `apply` hands it to
the service's state machine, here and on all other replicas, and here the caller gets the result. Until then it is
proposed again whenever the leader changes, and after a while of silence; the envelope makes sure that it is applied
once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Generic, TypeVar

from cluster.raft.core import ProposalDropped
from cluster.raft.core.types import NO_NODE, Entry, ReadState, Role, Stage
from cluster.raft.driver import Group, RaftHost
from cluster.replica.interface import (
    DurableState,
    Leadership,
    NoLeader,
    Overloaded,
    ProposalTimeout,
    ReadTimeout,
    ReplicaStopped,
    StateMachine,
    Status,
)
from cluster.replica.reads import WAITERS_MAX, ReadRounds
from cluster.replica.sessions import ENVELOPE, ENVELOPE_BYTES, ENVELOPE_VERSION, SessionTable

ResultT = TypeVar("ResultT")

PENDING_COUNT_MAX = 16_384
"""Commands of this replica whose outcome is open; more are refused."""
PENDING_BYTES_MAX = 64 << 20
"""The same, in bytes of commands."""
COMMAND_BYTES_MAX = 16 << 20
"""The longest command."""
PROPOSE_BYTES_MAX = 4 << 20
"""Commands handed to consensus in one turn; the rest follows in the next ones. A follower forwards them in one
message, which must stay below what the RPC engine takes."""
REPROPOSE_TICKS = 12
"""Ticks of silence after which a command is proposed again; twice as many after each time."""


class _Pending(Generic[ResultT]):
    """A command whose outcome is open."""

    __slots__ = ("attempts", "command", "due_tick", "future", "timer")

    def __init__(self, command: bytes, future: "asyncio.Future[ResultT]", timer: asyncio.TimerHandle) -> None:
        self.command = command
        self.future = future
        self.timer = timer
        self.attempts = 0
        """How often it was handed to consensus."""
        self.due_tick = 0


class Replica(Generic[ResultT]):
    """A `Replicated` over one group of a host. Made by `ReplicaHost.replica`."""

    def __init__(
        self, state_machine: StateMachine[ResultT], host: RaftHost, durable: DurableState | None = None
    ) -> None:
        """Raises ValueError when what `durable` found is not ours."""
        self._machine = state_machine
        self._durable = durable
        self._host = host
        self._group: Group | None = None
        self._sessions = SessionTable.decode(durable.note) if durable is not None and durable.index else SessionTable()
        self._member_id = host.member_id
        self._incarnation = host.incarnation
        self._sequence = 0
        self._pending: OrderedDict[int, _Pending[ResultT]] = OrderedDict()
        self._pending_bytes = 0
        self._waiting: list[int] = []
        self._taken: list[int] = []
        self._ticks = 0
        self._reads = ReadRounds(host.incarnation)
        self._leadership = Leadership(0, NO_NODE, False)
        self._callbacks: list[Callable[[Leadership], None]] = []
        self._stopped = False
        self.reproposals = 0
        """Commands that were proposed again."""
        self.duplicates = 0
        """Committed commands that were not applied, because they had been before."""

    def bind(self, group: Group) -> None:
        """Tells which group this is; right after the host opened it."""
        self._group = group
        self._leadership = Leadership(group.core.term, group.core.leader, False)
        self._host.schedule(group)

    @property
    def group(self) -> Group:
        """The group underneath, for telemetry and administration."""
        if self._group is None:
            raise RuntimeError("the replica is not bound to its group yet")
        return self._group

    # For services: Replicated

    async def propose(self, command: bytes, *, timeout_s: float) -> ResultT:
        """See Replicated. Raises ValueError for a command over COMMAND_BYTES_MAX."""
        if self._stopped:
            raise ReplicaStopped("the replica is stopped")
        if len(command) > COMMAND_BYTES_MAX:
            raise ValueError(f"a command of {len(command)} bytes; the limit is {COMMAND_BYTES_MAX}")
        pending_map = self._pending
        if len(pending_map) >= PENDING_COUNT_MAX or self._pending_bytes + len(command) > PENDING_BYTES_MAX:
            raise Overloaded(f"{len(pending_map)} commands, {self._pending_bytes} bytes, are not applied yet")
        loop = asyncio.get_running_loop()
        self._sequence = sequence = self._sequence + 1
        future: asyncio.Future[ResultT] = loop.create_future()
        timer = loop.call_later(timeout_s, self._expire, sequence, timeout_s)
        pending_map[sequence] = _Pending(command, future, timer)
        self._pending_bytes += len(command)
        self._waiting.append(sequence)
        self._host.schedule(self.group)
        try:
            return await future
        finally:
            if sequence in pending_map:
                # The caller was cancelled: nobody waits any more.
                self._forget(sequence)

    async def read_barrier(self, *, timeout_s: float) -> None:
        """See Replicated."""
        if self._stopped:
            raise ReplicaStopped("the replica is stopped")
        if self._reads.waiting >= WAITERS_MAX:
            raise ReadTimeout(f"{self._reads.waiting} reads are waiting already")
        waiter = self._reads.join(timeout_s)
        self._host.schedule(self.group)
        await waiter

    @property
    def member_id(self) -> int:
        """This replica's own id."""
        return self._member_id

    @property
    def status(self) -> Status:
        """Where this replica stands now."""
        core = self.group.core
        return Status(core.term, core.leader, core.commit_index, core.applied_index, core.last_index)

    @property
    def recovery(self) -> str:
        """See Replicated."""
        return self.group.core.recovery

    @property
    def stage(self) -> Stage:
        """Whether this replica takes part in quorums."""
        return self.group.core.standing.stage

    @property
    def leadership(self) -> Leadership:
        """Who leads now."""
        return self._leadership

    def on_leadership(self, callback: Callable[[Leadership], None]) -> None:
        """See Replicated."""
        self._callbacks.append(callback)
        asyncio.get_running_loop().call_soon(callback, self._leadership)

    def transfer_leadership(self, target: int) -> None:
        """Asks the leader to hand over to `target`; nothing happens when that is impossible."""
        self.group.core.transfer_leadership(target)
        self._host.schedule(self.group)

    # For the driver: GroupMachine

    def take_proposals(self) -> list[bytes]:
        """Envelopes of all commands that wait, when there is a leader to take them."""
        if not self._waiting or self.group.core.leader == NO_NODE:
            return []
        waiting, self._waiting = self._waiting, []
        pending_map = self._pending
        if not pending_map:
            return []
        lowest = next(iter(pending_map))
        pack, origin, incarnation = ENVELOPE.pack, self._member_id, self._incarnation
        now = self._ticks
        envelopes: list[bytes] = []
        taken: list[int] = []
        size = 0
        for position, sequence in enumerate(waiting):
            pending = pending_map.get(sequence)
            if pending is not None:
                size += len(pending.command)
                if size > PROPOSE_BYTES_MAX and taken:
                    self._waiting = waiting[position:]
                    self._host.schedule(self.group)
                    break
                envelopes.append(pack(ENVELOPE_VERSION, origin, incarnation, sequence, lowest) + pending.command)
                pending.due_tick = now + (REPROPOSE_TICKS << min(pending.attempts, 6))
                pending.attempts += 1
                taken.append(sequence)
        self._taken = taken
        return envelopes

    def proposals_dropped(self, dropped: ProposalDropped) -> None:
        """The core took none of them: they wait for the next tick or leader."""
        for sequence in self._taken:
            pending = self._pending.get(sequence)
            if pending is not None:
                pending.attempts -= 1
        self._waiting = self._taken + self._waiting
        self._taken = []

    def take_reads(self) -> list[bytes]:
        """The contexts of rounds of reads to ask for, when there is a leader to ask."""
        return self._reads.start() if self._reads.due and self.group.core.leader != NO_NODE else []

    def apply(self, entries: Sequence[Entry]) -> None:
        """Applies each command that was not applied before, and gives callers of this replica their results."""
        own, incarnation = self._member_id, self._incarnation
        unpack, admit = ENVELOPE.unpack_from, self._sessions.admit
        commands: list[tuple[int, bytes]] = []
        owners = []
        for index, _, _, data in entries:
            version, origin, life, sequence, lowest = unpack(data)
            if version != ENVELOPE_VERSION:
                raise ValueError(f"entry {index} has an envelope of version {version}")
            if admit(origin, life, sequence, lowest):
                if origin == own and life == incarnation:
                    owners.append((len(commands), sequence))
                commands.append((index, data[ENVELOPE_BYTES:]))
            else:
                self.duplicates += 1
        if self._sessions.incarnation(own) > incarnation:
            self._outlive_earlier_lives()
        if not commands:
            # The table may have changed; without a command that is not worth a write, and happens again after a crash.
            return
        results = self._machine.apply(commands)
        if len(results) != len(commands):
            raise ValueError(f"the state machine gave {len(results)} results for {len(commands)} commands")
        if self._durable is not None:
            self._durable.record(entries[-1].index, self._sessions.encode())
        pending_map = self._pending
        for position, sequence in owners:
            pending = pending_map.pop(sequence, None)
            if pending is not None:
                pending.timer.cancel()
                self._pending_bytes -= len(pending.command)
                if not pending.future.done():
                    pending.future.set_result(results[position])

    def snapshot(self) -> Iterator[bytes]:
        """The session table, frozen with the first chunk like the state itself; then the state machine's chunks."""
        table = self._sessions.encode()
        chunks = self._machine.snapshot()
        # The state machine's generator must begin to run at the same index as the table was taken.
        first = next(chunks, b"")
        try:
            yield table
            yield first
            yield from chunks
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    async def restore(self, chunks: AsyncIterator[bytes], index: int) -> None:
        """Takes the session table, and hands the rest to the state machine."""
        table = SessionTable.decode(await anext(chunks, b""))
        await self._machine.restore(chunks)
        self._sessions = table
        if self._durable is not None:
            await self._durable.restored(index, table.encode())
        for sequence, pending in list(self._pending.items()):
            if pending.attempts and table.applied(self._member_id, self._incarnation, sequence):
                self._fail(sequence, ProposalTimeout("applied, but the result came only as part of a snapshot"))
        if table.incarnation(self._member_id) > self._incarnation:
            self._outlive_earlier_lives()

    @property
    def stored_index(self) -> int | None:
        """See GroupMachine."""
        return None if self._durable is None else self._durable.index

    async def persist(self) -> None:
        """See GroupMachine."""
        if self._durable is not None:
            # What was applied since the last command changed nothing, but the log may be cut off behind it.
            if not self.group.state_is_ahead:
                self._durable.record(self.group.core.applied_index, self._sessions.encode())
            await self._durable.persist()

    @property
    def must_pause(self) -> bool:
        """See GroupMachine."""
        return self._durable is not None and self._durable.must_pause

    async def pause(self) -> None:
        """See GroupMachine."""
        if self._durable is not None:
            await self._durable.pause()

    def reads_ready(self, states: Sequence[ReadState]) -> None:
        """See GroupMachine."""
        self._reads.confirmed(states, self.group.core.applied_index)
        if self._reads.due:
            self._host.schedule(self.group)

    def progressed(self) -> None:
        """See GroupMachine."""
        self._reads.applied(self.group.core.applied_index)

    def leadership_changed(self) -> None:
        """Tells the service; what is under way is proposed and asked again under the new leader."""
        core = self.group.core
        leadership = Leadership(core.term, core.leader, core.role is Role.LEADER)
        if leadership == self._leadership:
            return
        self._leadership = leadership
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            loop.call_soon(callback, leadership)
        if core.leader != NO_NODE:
            self._repropose(list(self._pending))
            self._reads.retry()
            self._host.schedule(self.group)

    def ticked(self) -> None:
        """Looks for commands and reads that have waited too long."""
        self._ticks += 1
        if self._reads.tick() or self._waiting:
            self._host.schedule(self.group)
        due = []
        for sequence, pending in self._pending.items():
            if pending.attempts == 0:
                continue
            if pending.due_tick <= self._ticks:
                due.append(sequence)
            elif pending.attempts == 1:
                # Numbers grow with time, so all behind it that were proposed once are younger.
                break
        if due:
            self._repropose(sorted({*due, *self._waiting}))
            self._host.schedule(self.group)

    def stopped(self) -> None:
        """Every caller that still waits gets ReplicaStopped."""
        if self._stopped:
            return
        self._stopped = True
        self._reads.stop()
        for sequence in list(self._pending):
            self._fail(sequence, ReplicaStopped("the replica is stopped"))

    # Inside

    def _outlive_earlier_lives(self) -> None:
        """This member lost its disk, with it its boot counter, and its clock is behind that of an earlier life.

        What is pending was not applied, and under the present number never will be; under a greater one it can.
        """
        self._incarnation = self._sessions.incarnation(self._member_id) + 1
        self._repropose(list(self._pending))
        self._host.schedule(self.group)

    def _repropose(self, sequences: list[int]) -> None:
        self.reproposals += sum(
            self._pending[sequence].attempts > 0 for sequence in sequences if sequence in self._pending
        )
        self._waiting = sequences

    def _forget(self, sequence: int) -> _Pending[ResultT]:
        pending = self._pending.pop(sequence)
        pending.timer.cancel()
        self._pending_bytes -= len(pending.command)
        return pending

    def _fail(self, sequence: int, error: Exception) -> None:
        pending = self._forget(sequence)
        if not pending.future.done():
            pending.future.set_exception(error)

    def _expire(self, sequence: int, timeout_s: float) -> None:
        pending = self._pending.get(sequence)
        if pending is None:
            return
        if pending.attempts:
            self._fail(sequence, ProposalTimeout(f"the outcome was not known within {timeout_s} s"))
        else:
            self._fail(sequence, NoLeader(f"no leader took the command within {timeout_s} s"))
