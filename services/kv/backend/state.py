"""What of kv's replicated state is kept in the engine beside the records, and how it is read back.

    0xff "state"            StoredState: the log index that all of it belongs to, revisions, the replica's note
    0xff "lease" id         LeaseTable.Lease, id as 8 bytes big-endian
    0xff "member" id        MemberAttributes

A turn writes the first anew and of the others what changed, in one batch with its records. The index of keys and the
keys of leases are not kept: they are built from the records when the engine is opened, as etcd builds its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from cluster.pb.orrery.kv.v1.command_pb2 import MemberAttributes
from cluster.pb.orrery.kv.v1.snapshot_pb2 import LeaseTable as LeaseTableMessage
from cluster.pb.orrery.kv.v1.stored_pb2 import StoredState
from services.kv.backend.records import END, TurnRecords
from services.kv.mvcc.leases import Lease, LeaseTable
from services.kv.mvcc.revision import is_record_key
from services.kv.mvcc.store import Store
from storage.engine import Reader

FORMAT_VERSION = 1
STATE_KEY = END + b"state"
LEASE_PREFIX = END + b"lease"
MEMBER_PREFIX = END + b"member"
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """A state as it was found."""

    store: Store
    members: dict[int, MemberAttributes]
    index: int
    """The log index that it belongs to; 0: the engine was empty."""
    note: bytes


class DamagedState(ValueError):
    """The engine's bytes are whole, and yet not a state of kv."""


def load(records: TurnRecords) -> Loaded:
    """Reads the state in an engine. O(records): the index of keys is built. Raises DamagedState, Corruption."""
    engine = records.engine
    data = engine.get(STATE_KEY)
    store = Store(records, LeaseTable())
    if data is None:
        return Loaded(store, {}, 0, b"")
    try:
        state = StoredState.FromString(data)
        if state.version != FORMAT_VERSION:
            raise DamagedState(f"the engine's state has format {state.version}; this version knows {FORMAT_VERSION}")
        if state.revision < 1 or not -1 <= state.compact_revision <= state.revision:
            raise DamagedState("the engine's revisions cannot be")
        store.reopen(state.revision, state.compact_revision)
        store.leases.epoch = state.lessor_epoch
        for _, lease in _items(engine, LEASE_PREFIX):
            kept = LeaseTableMessage.Lease.FromString(lease)
            store.leases.add(Lease(kept.id, kept.ttl_s, kept.remaining_ttl_s))
        for key, record in records.scan():
            if not is_record_key(key):
                raise DamagedState(f"a key that is no record's: {key[:32].hex()}")
            store.index_record(key, record)
        store.attach_leases()
        members = {number: MemberAttributes.FromString(data) for number, data in _items(engine, MEMBER_PREFIX)}
    except DamagedState:
        raise
    except (DecodeError, ValueError) as error:
        raise DamagedState(f"the engine holds what cannot be: {error}") from error
    return Loaded(store, members, state.applied_index, state.note)


def beside(
    store: Store,
    members: dict[int, MemberAttributes],
    index: int,
    note: bytes,
    *,
    leases_changed: Iterable[int],
    members_changed: Iterable[int],
) -> Iterator[tuple[bytes, bytes | None]]:
    """What a turn that ends at `index` writes beside its records."""
    state = StoredState(
        version=FORMAT_VERSION,
        applied_index=index,
        revision=store.revision,
        compact_revision=store.compact_revision,
        lessor_epoch=store.leases.epoch,
        note=note,
    )
    yield STATE_KEY, state.SerializeToString()
    for lease_id in leases_changed:
        lease = store.leases.get(lease_id)
        kept = None
        if lease is not None:
            message = LeaseTableMessage.Lease(id=lease.id, ttl_s=lease.ttl_s, remaining_ttl_s=lease.remaining_ttl_s)
            kept = message.SerializeToString()
        yield LEASE_PREFIX + _id_bytes(lease_id), kept
    for member_id in members_changed:
        yield MEMBER_PREFIX + _id_bytes(member_id), members[member_id].SerializeToString()


def _items(reader: Reader, prefix: bytes) -> Iterator[tuple[int, bytes]]:
    for key, value in reader.scan(prefix, prefix + b"\xff" * (_ID_BYTES + 1)):
        yield int.from_bytes(key[len(prefix) :], "big"), value


def _id_bytes(number: int) -> bytes:
    # Lease ids are int64 and may be negative in a request; the table is keyed by their two's complement.
    return (number & (1 << 8 * _ID_BYTES) - 1).to_bytes(_ID_BYTES, "big")
