"""What kv may have done after it did not answer is removed, unless the session is another stream's by now."""

import asyncio

from cluster.clients.kv import KvClient
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseGrantRequest, PutRequest, RangeRequest
from runtime.real import StreamNet, SystemClock, SystemRandomness
from runtime.tasks import TaskScope
from services.lock import settling
from services.lock.names import session_key
from services.lock.records import PlaceRecord, encode_place
from services.lock.settling import Settler
from services.lock.store import Mark, PlaceStore
from tests.unit.services.lock.running import Service


async def place(service: Service, *holds: int) -> Mark:
    await service.kv.lease.LeaseGrant(LeaseGrantRequest(ID=7, TTL=60))
    written = await service.kv.kv.Put(PutRequest(key=session_key(7), value=b"{}", lease=7))
    value = encode_place(PlaceRecord("exclusive", holds))
    await service.kv.kv.Put(PutRequest(key=b"a/7", value=value, lease=7))
    return Mark(7, session_key(7), written.header.revision)


async def is_there(service: Service) -> bool:
    return bool((await service.kv.kv.Range(RangeRequest(key=b"a/7"))).kvs)


async def test_settling(bare: Service) -> None:
    kv = KvClient([bare.kv.address], net=StreamNet(), random=SystemRandomness(), clock=SystemClock())
    settler = Settler(PlaceStore(kv))
    before, settling.PAUSE_S = settling.PAUSE_S, 0.02
    try:
        async with TaskScope("test") as scope:
            settler.run_in(scope)
            mark = await place(bare, 1, 2)
            settler.settle(b"a/7", mark, 1)
            settler.settle(b"a/7", mark, 1)
            assert len(settler) == 1
            await asyncio.sleep(0.2)
            assert await is_there(bare)  # the other hold is wanted
            settler.settle(b"a/7", mark, 2)
            async with asyncio.timeout(5):
                while await is_there(bare):
                    await asyncio.sleep(0.01)
            # It goes on looking: what was sent may be done yet.
            await bare.kv.kv.Put(PutRequest(key=b"a/7", value=encode_place(PlaceRecord("exclusive", (2,))), lease=7))
            async with asyncio.timeout(5):
                while await is_there(bare):
                    await asyncio.sleep(0.01)
            # Another stream has gone on with the session: its holds are its own.
            await bare.kv.kv.Put(PutRequest(key=session_key(7), value=b"{}", lease=7))
            async with asyncio.timeout(5):
                while len(settler):
                    await asyncio.sleep(0.01)
            scope.cancel()
    finally:
        settling.PAUSE_S = before
        await kv.close()
