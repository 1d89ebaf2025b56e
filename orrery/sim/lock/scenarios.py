"""Scenarios of the lock service.

    orrery sim run --scenario lock --seeds 1..50
    orrery sim run --scenario lock --seeds 1..50 --without fencing     # clients that trust the lock alone: found out

Faults end after a while; then everybody must get every lock again, and nothing may be left in a queue.
"""

import asyncio
import contextlib
import logging
import unittest.mock
from collections.abc import Iterable, Iterator

import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, WatchStub
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from orrery.sim.histories import Histories
from orrery.sim.lock.audit import Change, Write, check
from orrery.sim.lock.cluster import CALL_S_MAX, DATA, MEMBERS, NAMES, LockCluster, kv_channel, locks_of
from orrery.sim.lock.faults import Plan, break_things, late_holders, long_pauses, wrong_clocks
from orrery.sim.setting import Contradiction, Setting
from runtime import Runtime
from runtime.sim import Limits, SwarmOptions, World
from services.lock import grip as grip_module
from services.lock import queue as queue_module
from services.lock.queue import Entry

CONVERGED_S_MAX = 120.0
"""How long everything may take to work again once nothing is broken any more."""
ASK_AGAIN_S = 0.5
"""Between two looks whether all queues are empty."""
LIMITS = Limits(virtual_s_max=600.0)
SAFEGUARDS = ("fencing", "queueing")

END = b"end"
"""Written last: who has seen it has seen all."""

_off: set[str] = set()
"""The safeguard that is switched off while `lacking` lasts."""


class NotConverged(Contradiction):
    """All is healed, and somebody still does not get a lock."""

    def __init__(self, text: str) -> None:
        super().__init__("liveness", text)


@contextlib.contextmanager
def lacking(without: str) -> Iterator[None]:
    """Takes a safeguard away, if one is named, while the block runs.

    `fencing`: clients write without comparing. `queueing`: whoever stands in a queue is given the lock.
    """

    def everybody(entries: Iterable[Entry]) -> Iterator[Entry]:
        yield from entries

    with contextlib.ExitStack() as stack:
        if without == "queueing":
            for module in (queue_module, grip_module):
                stack.enter_context(unittest.mock.patch.object(module, "granted", everybody))
        _off.add(without)
        stack.callback(_off.discard, without)
        yield


async def heal(cluster: LockCluster) -> None:
    """Ends every fault, and waits until the clients have stopped and everybody gets every lock. Raises NotConverged."""
    cluster.world.net.heal()
    for host in (*cluster.servers, *cluster.clients):
        host.resume()
        host.drift(host.rate_at_first)
    cluster.boot_servers()
    asker = cluster.world.host("asker")
    try:
        async with asyncio.timeout(CONVERGED_S_MAX):
            await asker.boot(_take_all)
    except TimeoutError as error:
        raise NotConverged(f"not after {CONVERGED_S_MAX} s\n{cluster.world.loop.describe_waiting()}") from error


async def _take_all(runtime: Runtime) -> None:
    """Gets every lock; then nobody may stand in a queue."""
    async with locks_of(runtime) as locks:
        for name in NAMES:
            await locks.release(await locks.acquire(name))
    channel = kv_channel(runtime, MEMBERS[0])
    try:
        while True:
            if await _queues_are_empty(channel):
                return
            await asyncio.sleep(ASK_AGAIN_S)
    finally:
        await channel.close()


async def _queues_are_empty(channel: grpc.aio.Channel) -> bool:
    for name in NAMES:
        try:
            found = await KVStub(channel).Range(
                RangeRequest(key=name.encode() + b"/", range_end=name.encode() + b"0"), timeout=CALL_S_MAX
            )
        except grpc.aio.AioRpcError:
            return False
        if found.kvs:
            return False
    return True


async def read_history(runtime: Runtime) -> tuple[list[Change], list[Write]]:
    """Everything that ever happened to the queues and to what the locks protect, as kv remembers it."""
    channel = kv_channel(runtime, MEMBERS[0])
    changes: list[Change] = []
    writes: list[Write] = []
    try:
        async with asyncio.timeout(CONVERGED_S_MAX):
            await KVStub(channel).Put(PutRequest(key=END))
            call = WatchStub(channel).Watch()
            create = WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1)
            await call.write(WatchRequest(create_request=create))
            while True:
                response = await call.read()
                assert isinstance(response, WatchResponse)
                for event in response.events:
                    pair = event.kv
                    if pair.key == END:
                        call.cancel()
                        return changes, writes
                    name = pair.key.rpartition(b"/")[0].decode()
                    if pair.key.startswith(DATA):
                        writes.append(Write(pair.key[len(DATA) :].decode(), int(pair.value), pair.mod_revision))
                    elif name in NAMES:
                        created = 0 if event.type == Event.DELETE else pair.create_revision
                        changes.append(Change(name, pair.key, created, pair.mod_revision))
    finally:
        await channel.close()


async def scenario(world: World, histories: Histories, plan: Plan) -> LockCluster:
    """Boots, works, breaks, heals, converges, audits. The history is judged by whoever plays this."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    recorder = histories.record("locks", "lock")
    lock_delay_s = world.random.choice((0, 1))
    cluster = LockCluster(world, recorder, lock_delay_s=lock_delay_s, fences="fencing" not in _off)
    cluster.boot_servers()
    clients = cluster.boot_clients()
    await plan(cluster)
    cluster.stopping = True
    await heal(cluster)
    async with asyncio.timeout(CONVERGED_S_MAX):
        await asyncio.gather(*clients)
    auditor = world.host("auditor")
    changes: list[Change] = []
    writes: list[Write] = []

    async def audit(runtime: Runtime) -> None:
        queue_changes, protected = await read_history(runtime)
        changes.extend(queue_changes)
        writes.extend(protected)

    await auditor.boot(audit)
    auditor.tell(check(changes, writes, cluster.granted))
    auditor.tell(f"{cluster.lost} grants were lost")
    return cluster


def _setting(plan: Plan, options: SwarmOptions | None = None) -> Setting:
    async def play(world: World, histories: Histories) -> None:
        await scenario(world, histories, plan)

    return Setting(play, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking, options=options)


SETTINGS = {
    "lock": _setting(break_things),
    "lock-late": _setting(late_holders, SwarmOptions()),
    "lock-pause": _setting(long_pauses, SwarmOptions()),
    "lock-clocks": _setting(wrong_clocks, SwarmOptions()),
}
"""By the names in `orrery/sim/scenarios.py`."""
