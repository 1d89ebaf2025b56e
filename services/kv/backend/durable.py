"""The disk under kv's state machine: `cluster.replica.interface.DurableState` over an engine.

durable = await KvDurability.open(home, clock)
machine = KvStateMachine(backend=durable)
replica = await host.replica(GROUP, machine, durable)
"""

from collections.abc import AsyncIterator

from cluster.pb.orrery.kv.v1.command_pb2 import MemberAttributes
from runtime import Clock
from services.kv.backend.commit_times import CommitTimes
from services.kv.backend.home import EngineHome
from services.kv.backend.records import PAUSE_BYTES, TurnRecords
from services.kv.backend.state import beside, load
from services.kv.mvcc.snapshots import SnapshotReader
from services.kv.mvcc.store import Store
from storage.engine import DurableEngine

RECLAIM_RECORDS_PER_TURN = 64
"""Garbage that a turn visits; an idle member is driven by its service."""


class KvDurability:
    """Ends turns, and looks after the engine."""

    def __init__(self, home: EngineHome, records: TurnRecords, clock: Clock) -> None:
        """Use `open`."""
        self.commits = CommitTimes()
        """How long it took until what was applied was durable, each time that somebody waited for it."""
        self._clock = clock
        self._home = home
        self._records = records
        self._fresh: TurnRecords | None = None
        loaded = load(records)
        self.store: Store = loaded.store
        """The store that counts."""
        self.members: dict[int, MemberAttributes] = loaded.members
        self.index = loaded.index
        self.note = loaded.note
        self._leases_changed: dict[int, None] = {}
        self._members_changed: dict[int, None] = {}

    @staticmethod
    async def open(home: EngineHome, clock: Clock) -> "KvDurability":
        """Reads the state that is there; commits are timed by `clock`. Raises DamagedState, Corruption."""
        return KvDurability(home, TurnRecords(home.engine), clock)

    # ---- for the state machine

    def lease_changed(self, lease_id: int) -> None:
        """A lease was granted, has ended, or was given another time."""
        self._leases_changed[lease_id] = None

    def member_changed(self, member_id: int) -> None:
        """A member told something about itself."""
        self._members_changed[member_id] = None

    async def read_snapshot(self, chunks: AsyncIterator[bytes]) -> tuple[Store, dict[int, MemberAttributes]]:
        """The state of a snapshot, in an engine of its own; `restored` makes it durable in place of the old one.

        Raises ValueError, and has then changed nothing.
        """
        fresh = TurnRecords(await self._home.fresh())
        reader = SnapshotReader(fresh)
        async for chunk in chunks:
            reader.feed(chunk)
            # Not a turn: what is half there does not count before `restored`.
            fresh.end_turn(())
            if fresh.unpaced_bytes >= PAUSE_BYTES:
                await fresh.pace()
        self.store, self.members = reader.finish()
        self._fresh = fresh
        return self.store, self.members

    # ---- DurableState

    def record(self, index: int, note: bytes) -> None:
        """Ends a turn."""
        self._end_turn(self._records, index, note)
        self.store.reclaim(RECLAIM_RECORDS_PER_TURN)

    async def restored(self, index: int, note: bytes) -> None:
        """Makes the state that was read durable, and lets the old one go."""
        assert self._fresh is not None, "nothing was restored"
        self._leases_changed = dict.fromkeys(lease.id for lease in self.store.leases)
        self._members_changed = dict.fromkeys(self.members)
        self._end_turn(self._fresh, index, note)
        await self._commit(self._fresh)
        await self._home.adopt()
        self._records, self._fresh = self._fresh, None

    async def persist(self) -> None:
        """Makes every turn so far durable."""
        await self._commit(self._records)

    @property
    def engine(self) -> DurableEngine:
        """The engine that counts."""
        return self._records.engine

    @property
    def must_pause(self) -> bool:
        """Whether the engine is to be asked again."""
        return self._records.unpaced_bytes >= PAUSE_BYTES

    async def pause(self) -> None:
        """Waits while the engine is too far ahead of its disk."""
        await self._records.pace()

    async def close(self) -> None:
        """Closes the engine. Does not make anything durable: see `persist`."""
        await self._home.close()

    async def _commit(self, records: TurnRecords) -> None:
        begin_s = self._clock.monotonic_s()
        await records.engine.flush()
        self.commits.observe(self._clock.monotonic_s() - begin_s)

    def _end_turn(self, records: TurnRecords, index: int, note: bytes) -> None:
        records.end_turn(
            beside(
                self.store,
                self.members,
                index,
                note,
                leases_changed=self._leases_changed,
                members_changed=self._members_changed,
            )
        )
        self._leases_changed = {}
        self._members_changed = {}
