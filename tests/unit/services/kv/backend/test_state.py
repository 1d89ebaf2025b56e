"""What is kept beside the records is read back, and what cannot be is refused by name."""

import random

import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest
from cluster.pb.orrery.kv.v1.stored_pb2 import StoredState
from runtime.real import SystemClock
from runtime.sim import SimDisk
from services.kv import commands
from services.kv.backend.durable import KvDurability
from services.kv.backend.home import EngineHome
from services.kv.backend.records import END, TurnRecords
from services.kv.backend.state import LEASE_PREFIX, STATE_KEY, DamagedState, load
from services.kv.mvcc.revision import record_key
from services.kv.state_machine import KvStateMachine
from storage.btree import BTreeEngine
from storage.engine import DurableEngine


async def filled() -> tuple[DurableEngine, KvStateMachine]:
    disk = SimDisk(random.Random(1))

    async def open_engine(path: str) -> DurableEngine:
        return await BTreeEngine.open(disk, path)

    home = await EngineHome.open(disk, "state", open_engine)
    durable = await KvDurability.open(home, SystemClock())
    machine = KvStateMachine(backend=durable)
    for index, key in enumerate([b"a", b"b"], 1):
        machine.apply([(index, commands.encode(commands.PUT, PutRequest(key=key, value=b"v")))])
        durable.record(index, b"note")
    return home.engine, machine


def rewritten(engine: DurableEngine, **changes: int) -> None:
    state = StoredState.FromString(engine.get(STATE_KEY) or b"")
    for name, value in changes.items():
        setattr(state, name, value)
    engine.put(STATE_KEY, state.SerializeToString())


async def test_an_empty_engine_is_an_empty_state() -> None:
    engine = await BTreeEngine.open(SimDisk(random.Random(1)), "e")
    loaded = load(TurnRecords(engine))
    assert (loaded.index, loaded.note, loaded.store.revision, loaded.members) == (0, b"", 1, {})
    await engine.close()


async def test_records_are_shown_without_what_is_beside_them() -> None:
    engine, _ = await filled()
    records = TurnRecords(engine)
    keys = [record_key(2, 0), record_key(3, 0)]
    assert [key for key, _ in records.scan()] == keys
    assert [key for key, _ in records.scan(reverse=True)] == keys[::-1]
    assert [key for key, _ in records.snapshot().scan(None, END + b"zzz")] == keys
    assert any(key >= END for key, _ in engine.scan())
    # What the turn has put so far shows, in its place.
    records.put(record_key(4, 0), b"pending")
    assert records.get(record_key(4, 0)) == b"pending"
    assert [key for key, _ in records.scan(record_key(3, 0))] == [record_key(3, 0), record_key(4, 0)]
    assert [key for key, _ in records.scan(None, record_key(4, 0), reverse=True)] == keys[::-1]
    records.end_turn(())
    assert engine.get(record_key(4, 0)) == b"pending"
    await engine.close()


@pytest.mark.parametrize("changes", [{"version": 2}, {"revision": 0}, {"compact_revision": 99}, {"revision": 2}])
async def test_numbers_that_cannot_be_are_refused(changes: dict[str, int]) -> None:
    engine, _ = await filled()
    rewritten(engine, **changes)
    with pytest.raises(ValueError, match=r"format|revisions|future"):
        load(TurnRecords(engine))
    await engine.close()


@pytest.mark.parametrize("key", [STATE_KEY, LEASE_PREFIX + bytes(8), b"\0stray"])
async def test_bytes_that_are_no_messages_are_refused(key: bytes) -> None:
    engine, _ = await filled()
    engine.put(key, b"\xff\xff\xff")
    with pytest.raises(DamagedState):
        load(TurnRecords(engine))
    await engine.close()
