"""How a group comes to be on a host: from what the log says about it, as a new one, or to be rebuilt.

A new group is JOINING: its core asks the other members whether there was an earlier log, see cluster.raft.core.
One of which something was damaged, or of which only snapshots are left, is known to have had one: RECOVERING.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cluster.raft.core import LIFE_CLOCK_SHIFT, MemoryLog, Raft, RaftConfig
from cluster.raft.core.types import Configuration, HardState, SnapshotMeta, Stage, Standing
from cluster.raft.driver import condemned
from cluster.raft.driver.boot import OpenedLog
from cluster.raft.driver.errors import ReplicaCorrupted
from cluster.raft.driver.group import Group, GroupMachine
from cluster.raft.driver.records import BadRecord, Mark
from cluster.raft.driver.recovery import LogSpans, RecoveredGroup
from runtime import Runtime

if TYPE_CHECKING:
    from cluster.raft.driver.host import RaftHost

_LIFE_CLOCK_BITS = 64 - LIFE_CLOCK_SHIFT


class _Start(NamedTuple):
    """What a group's core starts from."""

    log: MemoryLog
    hard_state: HardState
    standing: Standing
    spans: LogSpans


class Opening:
    """Opens the groups of one host."""

    def __init__(
        self, host: "RaftHost", runtime: Runtime, directory: str, opened: OpenedLog, *, may_rebuild: bool
    ) -> None:
        self.recovered = opened.groups
        """What the log says about groups that are not open yet."""
        self.condemned = opened.condemned
        """Where damaged logs are kept, oldest first; see driver.condemned."""
        self._host = host
        self._runtime = runtime
        self._directory = directory
        self._may_rebuild = may_rebuild

    async def open(self, group_id: int, machine: GroupMachine, voters: Sequence[int]) -> Group:
        """See RaftHost.add_group."""
        configuration = Configuration(voters=frozenset(voters))
        recovered = self.recovered.pop(group_id, None)
        try:
            if recovered is not None:
                return await self._reopen(group_id, machine, recovered)
            if await self._host.store.holds(group_id):
                raise ReplicaCorrupted("wal", 0, f"group {group_id} has snapshots, but the log does not know it")
        except ReplicaCorrupted as damage:
            if not self._may_rebuild:
                raise
            kept_in = await condemned.condemn_group(self._runtime.disk, self._directory, group_id, damage)
            self.condemned = (*self.condemned, kept_in)
        # Where a log was condemned, a group that the present one does not know may have been in it.
        return await self._found(group_id, machine, configuration, lost=bool(self.condemned), before=recovered)

    async def _found(
        self,
        group_id: int,
        machine: GroupMachine,
        configuration: Configuration,
        *,
        lost: bool,
        before: RecoveredGroup | None,
    ) -> Group:
        """A group whose log is new. `lost` when it is known to have had another one, `before` what is left of it."""
        if machine.stored_index and not lost:
            # A new cluster would skip its first entries, as if they were those that this state holds.
            raise ReplicaCorrupted("wal", 0, f"group {group_id} has a state, but the log does not know it")
        stage = Stage.RECOVERING if lost else Stage.JOINING
        standing = Standing(stage, self._new_life(), complete=not lost)
        hard_state = HardState() if before is None else before.hard_state._replace(commit=0)
        spans = LogSpans() if before is None else before.spans
        start = _Start(MemoryLog(SnapshotMeta(0, 0, configuration)), hard_state, standing, spans)
        await self._host.store.prepare(group_id, start.log.snapshot())
        mark = Mark(group_id, hard_state, 0, 0, start.log.snapshot(), reset=True)
        await self._host.log.found(mark, standing, spans)
        return self._make_group(group_id, machine, start)

    async def _reopen(self, group_id: int, machine: GroupMachine, recovered: RecoveredGroup) -> Group:
        """A group that the log knows. Raises ReplicaCorrupted."""
        try:
            log = recovered.log()
        except BadRecord as error:
            raise ReplicaCorrupted("wal", 0, str(error)) from error
        snapshot = log.snapshot()
        if snapshot.index > (machine.stored_index or 0):
            await self._host.restore(machine, group_id, snapshot)
        await self._host.store.prepare(group_id, snapshot)
        return self._make_group(
            group_id, machine, _Start(log, recovered.hard_state, recovered.standing, recovered.spans)
        )

    def _make_group(self, group_id: int, machine: GroupMachine, start: "_Start") -> Group:
        snapshot = start.log.snapshot()
        try:
            core = Raft(
                self._config(),
                start.log,
                start.hard_state,
                snapshot.configuration,
                snapshot.index,
                self._runtime.random.integer,
                start.standing,
            )
        except ValueError as error:
            raise ReplicaCorrupted("wal", 0, f"group {group_id}: {error}") from error
        return Group(group_id, core, start.log, machine, start.hard_state, start.standing, start.spans)

    def _new_life(self) -> int:
        """See Standing: unlike any other, and as a rule greater than the earlier ones."""
        clock = self._host.incarnation & ((1 << _LIFE_CLOCK_BITS) - 1)
        return (clock << LIFE_CLOCK_SHIFT) | self._runtime.random.integer(1, 1 << LIFE_CLOCK_SHIFT)

    def _config(self) -> RaftConfig:
        options = self._host.options
        return RaftConfig(
            self._host.member_id,
            election_ticks=options.election_ticks,
            heartbeat_ticks=options.heartbeat_ticks,
            entries_bytes_per_message_max=options.entries_bytes_per_message_max,
            inflight_bytes_max=options.inflight_bytes_max,
            uncommitted_bytes_max=options.uncommitted_bytes_max,
            safeguards=options.safeguards,
        )
