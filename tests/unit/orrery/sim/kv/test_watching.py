import asyncio
import random
from collections.abc import Awaitable, Callable

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import CompactionRequest, PutRequest, WatchResponse
from cluster.pb.etcd.mvccpb.kv_pb2 import Event, KeyValue
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.watching import Told, Watcher
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]


def test_what_a_stream_told() -> None:
    told = Told()
    told.hear(WatchResponse(created=True))
    put = Event(type=Event.PUT, kv=KeyValue(key=b"r/a", value=b"x", mod_revision=4))
    gone = Event(type=Event.DELETE, kv=KeyValue(key=b"r/a", mod_revision=6))
    told.hear(WatchResponse(events=[put, gone]))
    told.hear(WatchResponse(canceled=True, compact_revision=9))
    assert told.as_json() == {
        "events": [
            {"type": "put", "key": "r/a", "value": "x", "revision": 4},
            {"type": "delete", "key": "r/a", "value": None, "revision": 6},
        ],
        "revision": 6,
        "compacted": 9,
    }


def test_a_watch_goes_on_where_it_was(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("kv", "watch")
    heard: list[Told] = []

    async def work(cluster: KvCluster, access: Access) -> None:
        async def put(value: bytes) -> int:
            return (await access.kv.Put(PutRequest(key=b"r/a", value=value))).header.revision

        await put(b"1")
        from_start = Watcher("start", recorder, access, "r/", 1)
        from_now = Watcher("now", recorder, access, "r/", 0)
        heard.append(await from_start.watch(0.5, asks_progress=False))
        heard.append(await from_now.watch(0.5, asks_progress=True))
        last = await put(b"2")
        heard.append(await from_now.watch(0.5, asks_progress=False))
        # Asked how far it is, it tells of revisions that are not its own.
        await access.kv.Put(PutRequest(key=b"other", value=b""))
        heard.append(await from_start.watch(0.5, asks_progress=True))
        assert heard[-1].until > last
        heard.append(await Watcher("until", recorder, access, "r/", 1).watch(20, asks_progress=False, until=last))
        await access.kv.Compact(CompactionRequest(revision=last))
        late = Watcher("late", recorder, access, "r/", 1)
        heard.append(await late.watch(0.5, asks_progress=False))
        assert late.next == last + 1

    world = calmly(work)
    values = [[event["value"] for event in told.events if isinstance(event, dict)] for told in heard]
    assert values == [["1"], [], ["2"], ["2"], ["1", "2"], []]
    assert heard[-1].compacted
    assert world.virtual_s < 10


def test_it_ends_when_it_is_to(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("kv", "watch")

    async def work(cluster: KvCluster, access: Access) -> None:
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(3, stopping.set)
        await Watcher("w", recorder, access, "r/", 0).run(0.3, random.Random(1), stopping)

    calmly(work)
    history = histories.subjects["kv"].history()
    assert len(history) > 1
    assert all(operation.f == "watch" and operation.output is not None for operation in history.operations)
