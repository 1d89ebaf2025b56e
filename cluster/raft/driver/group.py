"""One group on a host: its core, its log, its state machine, and how far each has come.

The host calls; nothing here waits, except a restore. The order of things within one Ready is the contract of
`cluster.raft.core.types`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from cluster.raft.core import MemoryLog, ProposalDropped, Raft, ReadDropped
from cluster.raft.core.types import (
    Entry,
    EntryKind,
    HardState,
    ReadState,
    SnapshotMeta,
    Standing,
)
from cluster.raft.driver.recovery import LogSpans


class GroupMachine(Protocol):
    """What a group drives: in production a `cluster.replica.Replica`, which wraps a service's state machine.

    An exception out of any of these is a bug, and ends the host.
    """

    def apply(self, entries: Sequence[Entry]) -> None:
        """Applies commands in order. Empty ones, with which leaders open their terms, are not among them."""
        ...

    def snapshot(self) -> Iterator[bytes]:
        """The state as of the first `next`, which comes at once; `apply` may run between later chunks."""
        ...

    async def restore(self, chunks: AsyncIterator[bytes], index: int) -> None:
        """Replaces the state by the one at `index`; a durable one is durable on return.

        Nothing is applied meanwhile. Raises ValueError when the chunks are not a snapshot. Whatever it raises, or the
        chunks do, the state is then as it was before.
        """
        ...

    @property
    def stored_index(self) -> int | None:
        """Up to where the state was found on the disk when it was opened; None: it is kept in memory alone.

        Commands up to there are not handed out again.
        """
        ...

    async def persist(self) -> None:
        """Makes everything applied so far durable. Only asked of a state with a `stored_index`. Raises OSError."""
        ...

    @property
    def must_pause(self) -> bool:
        """Whether nothing more may be applied until `pause` has returned."""
        ...

    async def pause(self) -> None:
        """Waits until the disk under the state has caught up. Raises OSError."""
        ...

    def take_proposals(self) -> list[bytes]:
        """The commands to propose this turn."""
        ...

    def proposals_dropped(self, dropped: ProposalDropped) -> None:
        """Those of `take_proposals` were not taken by the core: definitely not proposed."""
        ...

    def take_reads(self) -> list[bytes]:
        """The contexts of reads to start this turn."""
        ...

    def reads_ready(self, reads: Sequence[ReadState]) -> None:
        """These may be served once their index is applied."""
        ...

    def leadership_changed(self) -> None:
        """Leader, role or term may have changed."""
        ...

    def progressed(self) -> None:
        """The applied index moved."""
        ...

    def ticked(self) -> None:
        """A tick passed."""
        ...

    def stopped(self) -> None:
        """The host stops or has failed: nothing will be applied any more."""
        ...


ENTRY_OVERHEAD_BYTES = 32
"""What an entry costs in the log beside its data, about."""


class Group:
    """A member of one group. The attributes are the host's; others may read them."""

    def __init__(
        self,
        group_id: int,
        core: Raft,
        log: MemoryLog,
        machine: GroupMachine,
        hard_state: HardState,
        standing: Standing,
        spans: LogSpans,
    ) -> None:
        self.group_id = group_id
        self.core = core
        self.log = log
        self.machine = machine
        self.hard_state = hard_state
        """As last handed out by the core; `hard_state_unsaved` when no record holds it yet."""
        self.hard_state_unsaved = False
        self.standing = standing
        """As last handed out by the core."""
        self.spans = spans
        self.snapshot = log.snapshot()
        """The newest snapshot that a MARK names, written or queued."""
        self.snapshot_bytes = 0
        """Size of the newest snapshot's file, 0 when unknown."""
        self.is_stored = machine.stored_index is not None
        """Whether the state machine keeps its state on the disk: snapshots are then written only to be sent."""
        self._machine_index = machine.stored_index or 0
        self.applied_term = self.snapshot.term
        self.applied_bytes = 0
        """Log bytes applied since the newest snapshot."""
        self.writes_in_flight = 0
        self.taking_snapshot = False
        self._restores = 0
        self._pauses = 0
        self.scheduled = False
        self._backlog: list[Entry] = []

    @property
    def applied_index(self) -> int:
        """How far the state machine is."""
        return self.core.applied_index

    def take_input(self) -> None:
        """Hands what the machine wants proposed and read to the core."""
        machine = self.machine
        commands = machine.take_proposals()
        if commands:
            try:
                self.core.propose(commands)
            except ProposalDropped as dropped:
                machine.proposals_dropped(dropped)
        for context in machine.take_reads():
            try:
                self.core.read_index(context)
            except ReadDropped:
                # The machine asks again after a while, or when a leader appears.
                break

    def apply(self, entries: list[Entry]) -> None:
        """Applies committed entries, or keeps them until a restore or pause is done; the core bounds how many."""
        if self._restores or self._pauses:
            self._backlog += entries
            return
        commands = []
        size = 0
        for entry in entries:
            size += len(entry.data) + ENTRY_OVERHEAD_BYTES
            if entry.kind is not EntryKind.COMMAND:
                self.core.apply_configuration(entry)
            elif entry.data and entry.index > self._machine_index:
                commands.append(entry)
        if commands:
            self.machine.apply(commands)
        self.applied_bytes += size
        self.applied_term = entries[-1].term
        self.core.applied(entries[-1].index)
        self.machine.progressed()

    @property
    def state_is_ahead(self) -> bool:
        """Whether the state, as it was found on the disk, holds more than has been applied since the start."""
        return self.core.applied_index < self._machine_index

    @property
    def restoring(self) -> bool:
        """Whether a leader's snapshot is on its way into the state machine."""
        return self._restores > 0

    def begin_restore(self) -> None:
        """From now on committed entries wait."""
        self._restores += 1

    def end_restore(self, meta: SnapshotMeta) -> None:
        """The state machine holds the snapshot; goes on with what was committed meanwhile."""
        self._restores -= 1
        self._machine_index = meta.index
        self.applied_term = meta.term
        self.applied_bytes = 0
        self.core.applied(meta.index)
        self.machine.progressed()
        self._backlog = [entry for entry in self._backlog if entry.index > meta.index]
        self._work_off()

    def begin_pause(self) -> None:
        """From now on committed entries wait."""
        self._pauses += 1

    def end_pause(self) -> None:
        """Goes on with what was committed meanwhile."""
        self._pauses -= 1
        self._work_off()

    def _work_off(self) -> None:
        if self._backlog and not self._restores and not self._pauses:
            backlog, self._backlog = self._backlog, []
            self.apply(backlog)
