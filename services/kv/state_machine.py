"""What is replicated: the store of revisions, the leases, and what the members said about themselves.

Deterministic: everything that takes a clock, a random number or this member's configuration was decided by whoever
proposed the command. What those around it must know (changed keys, granted and ended leases) goes out through
`Observer`, after the whole batch has been applied.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from google.protobuf.message import DecodeError, Message

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
)
from cluster.pb.orrery.kv.v1.command_pb2 import Command, MemberAttributes
from services.kv.backend.commit_times import CommitTimes
from services.kv.checks import check_delete_range, check_put, check_txn
from services.kv.mvcc import transactions
from services.kv.mvcc.leases import TTL_MAX_S, Lease, LeaseTable
from services.kv.mvcc.snapshots import read_snapshot, write_snapshot
from services.kv.mvcc.store import Change, Records, Store
from services.kv.refusals import (
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    LEASE_TTL_TOO_LARGE,
    MALFORMED_COMMAND,
    Refusal,
    Refused,
)
from storage.engine import DurableEngine
from storage.memory import MemoryEngine

Result: TypeAlias = Message | Refusal | None
"""What a command yields: etcd's answer with `header.revision` set, a refusal, or None where nobody asks."""

RECLAIM_RECORDS_PER_COMMAND = 8
"""Garbage is visited at this rate while commands are applied; an idle member is driven by its service."""
MEMBERS_MAX = 1000
"""Attributes of more members than this are not kept. A cluster has at most a few dozen."""


class Observer(Protocol):
    """Hears of what was applied. Calls come on the event loop, and must not wait."""

    def changed(self, changes: Sequence[Change]) -> None:
        """Keys changed, in this order. The store's revision is that of the last change."""
        ...

    def lease_granted(self, lease: Lease) -> None:
        """A lease came into being."""
        ...

    def lease_ended(self, lease_id: int) -> None:
        """A lease was revoked or has expired. Its keys are gone."""
        ...

    def lessor_epoch_began(self, epoch: int) -> None:
        """The leader of that term keeps the time of leases from here on."""
        ...

    def restored(self) -> None:
        """The whole state was replaced by a snapshot."""
        ...


class Backend(Protocol):
    """A disk on which the state is kept."""

    @property
    def engine(self) -> DurableEngine:
        """What keeps it."""
        ...

    @property
    def commits(self) -> CommitTimes:
        """How long it took to make it durable."""
        ...

    @property
    def store(self) -> Store:
        """The store that was found, or an empty one."""
        ...

    @property
    def members(self) -> dict[int, MemberAttributes]:
        """What was known of the members."""
        ...

    async def read_snapshot(self, chunks: AsyncIterator[bytes]) -> tuple[Store, dict[int, MemberAttributes]]:
        """A new store and members, which count from now on. Raises ValueError, and has then changed nothing."""
        ...

    def lease_changed(self, lease_id: int) -> None:
        """A lease was granted, has ended, or was given another time."""
        ...

    def member_changed(self, member_id: int) -> None:
        """A member told something about itself."""
        ...


class KvStateMachine:
    """A `cluster.replica.interface.StateMachine` whose results are of type `Result`."""

    def __init__(self, engine_factory: Callable[[], Records] = MemoryEngine, *, backend: Backend | None = None) -> None:
        """A state in memory, empty, in an engine of the factory; or the one that `backend` found on its disk."""
        self._engine_factory = engine_factory
        self.backend = backend
        """Where the state is kept; None: in memory."""
        self.store = Store(engine_factory(), LeaseTable()) if backend is None else backend.store
        self.members: dict[int, MemberAttributes] = {} if backend is None else backend.members
        """By member id: what each member told about itself."""
        self.applied_index = 0
        self._observers: list[Observer] = []
        self._changes: list[Change] = []
        self._actions: dict[str, Callable[[Command], Result]] = {
            "put": self._put,
            "delete_range": self._delete_range,
            "txn": self._txn,
            "compact": self._compact,
            "lease_grant": self._lease_grant,
            "lease_revoke": self._lease_revoke,
            "lease_expire": self._lease_expire,
            "lease_checkpoint": self._lease_checkpoint,
            "lessor_epoch": self._lessor_epoch,
            "member_attributes": self._member_attributes,
        }

    def observe(self, observer: Observer) -> None:
        """Tells `observer` of everything applied from now on."""
        self._observers.append(observer)

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[Result]:
        """Applies commands in order; one result each."""
        results: list[Result] = []
        for index, data in commands:
            results.append(self._apply_one(data))
            self.applied_index = index
        if self.backend is None:
            # On a disk garbage is removed after the turn that made it: see TurnRecords.delete.
            self.store.reclaim(RECLAIM_RECORDS_PER_COMMAND * len(commands))
        if self._changes:
            changes, self._changes = self._changes, []
            for observer in self._observers:
                observer.changed(changes)
        return results

    def snapshot(self) -> Iterator[bytes]:
        """The whole state as of now, in chunks."""
        return write_snapshot(self.store, self.members)

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        """Replaces the whole state. Raises ValueError, and has then changed nothing."""
        if self.backend is None:
            self.store, self.members = await read_snapshot(self._engine_factory(), chunks)
        else:
            self.store, self.members = await self.backend.read_snapshot(chunks)
        for observer in self._observers:
            observer.restored()

    def _apply_one(self, data: bytes) -> Result:
        if not data:
            return None
        try:
            command = Command.FromString(data)
        except DecodeError:
            return MALFORMED_COMMAND
        action = self._actions.get(command.WhichOneof("action") or "")
        if action is None:
            return MALFORMED_COMMAND
        try:
            return action(command)
        except Refused as refused:
            return refused.refusal

    def _put(self, command: Command) -> Result:
        request = command.put
        check_put(request)
        transactions.check_put(self.store, request)
        transaction = self.store.begin()
        response = transactions.put(self.store, transaction, request)
        self._changes += transaction.commit()
        return response

    def _delete_range(self, command: Command) -> Result:
        check_delete_range(command.delete_range)
        transaction = self.store.begin()
        response = transactions.delete_range(self.store, transaction, command.delete_range)
        self._changes += transaction.commit()
        return response

    def _txn(self, command: Command) -> Result:
        # How many operations are allowed is the proposer's configuration; that no key is written twice is a rule.
        check_txn(command.txn, operations_max=1 << 31)
        transaction = self.store.begin()
        response = transactions.txn(self.store, transaction, command.txn)
        self._changes += transaction.commit()
        return response

    def _compact(self, command: Command) -> Result:
        self.store.compact(command.compact.revision)
        response = CompactionResponse()
        response.header.revision = self.store.revision
        return response

    def _lease_grant(self, command: Command) -> Result:
        request = command.lease_grant
        if request.ID == 0:
            return LEASE_NOT_FOUND
        if request.TTL > TTL_MAX_S:
            return LEASE_TTL_TOO_LARGE
        if self.store.leases.get(request.ID) is not None:
            return LEASE_EXISTS
        lease = Lease(request.ID, max(1, request.TTL))
        self.store.leases.add(lease)
        if self.backend is not None:
            self.backend.lease_changed(lease.id)
        for observer in self._observers:
            observer.lease_granted(lease)
        response = LeaseGrantResponse(ID=lease.id, TTL=lease.ttl_s)
        response.header.revision = self.store.revision
        return response

    def _lease_revoke(self, command: Command) -> Result:
        if not self._end_lease(command.lease_revoke.ID):
            return LEASE_NOT_FOUND
        response = LeaseRevokeResponse()
        response.header.revision = self.store.revision
        return response

    def _lease_expire(self, command: Command) -> Result:
        if command.lease_expire.epoch == self.store.leases.epoch:
            for lease_id in command.lease_expire.ids:
                self._end_lease(lease_id)
        return None

    def _lease_checkpoint(self, command: Command) -> Result:
        if command.lease_checkpoint.epoch == self.store.leases.epoch:
            for checkpoint in command.lease_checkpoint.checkpoints:
                lease = self.store.leases.get(checkpoint.ID)
                if lease is not None:
                    lease.remaining_ttl_s = max(0, min(checkpoint.remaining_TTL, lease.ttl_s))
                    if self.backend is not None:
                        self.backend.lease_changed(lease.id)
        return None

    def _lessor_epoch(self, command: Command) -> Result:
        epoch = command.lessor_epoch.epoch
        if epoch > self.store.leases.epoch:
            self.store.leases.epoch = epoch
            for observer in self._observers:
                observer.lessor_epoch_began(epoch)
        return None

    def _member_attributes(self, command: Command) -> Result:
        attributes = command.member_attributes
        if attributes.id in self.members or len(self.members) < MEMBERS_MAX:
            self.members[attributes.id] = attributes
            if self.backend is not None:
                self.backend.member_changed(attributes.id)
        return None

    def _end_lease(self, lease_id: int) -> bool:
        """Deletes a lease and its keys, all at one revision; whether there was one."""
        lease = self.store.leases.get(lease_id)
        if lease is None:
            return False
        transaction = self.store.begin()
        for key in sorted(lease.keys):
            transaction.delete(key)
        self.store.leases.remove(lease_id)
        if self.backend is not None:
            self.backend.lease_changed(lease_id)
        self._changes += transaction.commit()
        for observer in self._observers:
            observer.lease_ended(lease_id)
        return True
