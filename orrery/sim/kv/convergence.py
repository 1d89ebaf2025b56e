"""Once nothing is broken any more: every member serves again and holds the same, and leases that nobody renews end.

Looked at last is everything that clients have written, so that what was lost shows in the histories.
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVRequest, HashKVResponse, PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from orrery.checkers.history import Json
from orrery.sim.kv import etcd, leasing, locking, registers
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import CALL_TIMEOUT_S, connect
from orrery.sim.kv.lists import ListClient
from orrery.sim.kv.recording import Process
from orrery.sim.kv.watching import Watcher
from orrery.sim.kv.workload import Workload
from orrery.sim.setting import Contradiction
from runtime import Runtime

CONVERGED_S_MAX = 120.0
"""How long everything may take to work again."""
ASK_AGAIN_S = 0.2
"""Between two looks whether everything works again."""
LAST_WATCH_S = 20.0


async def converge(workload: Workload) -> None:
    """Waits until everything works, and looks at everything. Raises Contradiction."""
    world = workload.cluster.world
    started_s = world.virtual_s
    asker = world.host("asker")
    try:
        async with asyncio.timeout(CONVERGED_S_MAX):
            await asker.boot(lambda runtime: _Asker(runtime, workload).ask())
    except TimeoutError as error:
        text = f"not everything works {CONVERGED_S_MAX} s after all was healed\n{world.loop.describe_waiting()}"
        raise Contradiction("liveness", text) from error
    asker.tell(f"converged in {world.virtual_s - started_s:.3f} s")


class _Asker:
    """A client of its own."""

    def __init__(self, runtime: Runtime, workload: Workload) -> None:
        self._runtime = runtime
        self._workload = workload
        self._looks = 0
        self._revision = 0
        """Of the last look at all registers."""

    async def ask(self) -> None:
        """Everything, one after another."""
        for member in self._workload.cluster.names:
            await _until(lambda member=member: self._put(member))  # type: ignore[misc]
        await self._workload.ended()
        access = Access(self._runtime, self._workload.cluster.names, self._workload.cluster.world.stream("asker"))
        await _until(lambda: self._leases_have_ended(access))
        await _until(lambda: self._look_at_registers(access))
        await _until(lambda: self._look_at_lists(access))
        await self._watch_everything(access)
        await _until(self._members_are_equal)
        await access.close()

    async def _put(self, member: str) -> bool:
        channel = connect(self._runtime, member)
        try:
            await KVStub(channel).Put(PutRequest(key=b"final", value=member.encode()), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        finally:
            await channel.close()
        return True

    async def _leases_have_ended(self, access: Access) -> bool:
        for prefix in (leasing.PREFIX, locking.PREFIX):
            try:
                low, high = prefix.encode(), etcd.prefix_end(prefix)
                found = await access.kv.Range(RangeRequest(key=low, range_end=high), timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                return False
            if any(each.lease for each in found.kvs):
                return False
        return True

    async def _look_at_registers(self, access: Access) -> bool:
        """All by one read, each told as a read of its own."""
        workload = self._workload
        self._looks += 1
        low, high = registers.PREFIX.encode(), etcd.prefix_end(registers.PREFIX)
        keys = [key for group in workload.groups.all for key in group.keys]
        invoked = [workload.registers.invoke(f"asker-{self._looks}/{key}", "get", key) for key in keys]
        try:
            found = await access.kv.Range(RangeRequest(key=low, range_end=high), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        there = {each.key.decode(): each for each in found.kvs}
        self._revision = found.header.revision
        for key, invocation in zip(keys, invoked, strict=True):
            told = etcd.seen(there.get(key), self._revision, versions=workload.mix.tells_versions)
            workload.registers.ok(invocation, told)
        return True

    async def _look_at_lists(self, access: Access) -> bool:
        process = Process("asker", self._workload.transactions, self._workload.refusals)
        asked: list[Json] = [["r", name, None] for name in self._workload.lists.all]
        source = self._workload.cluster.world.random
        return (await ListClient(process, access, self._workload.lists, source).transact(asked)).outcome == "ok"

    async def _watch_everything(self, access: Access) -> None:
        """From as far back as the store can tell."""
        watcher = Watcher("asker/watch", self._workload.registers, access, registers.PREFIX, 1)
        while watcher.next <= self._revision:
            await watcher.watch(LAST_WATCH_S, asks_progress=False, until=self._revision)

    async def _members_are_equal(self) -> bool:
        """Whether all hold the same at the same revision. Raises Contradiction when they surely do not."""
        answers: list[HashKVResponse] = []
        revision = 0
        for member in self._workload.cluster.names:
            channel = connect(self._runtime, member)
            try:
                # A linearizable read first: what it sees, the member has applied.
                seen = await KVStub(channel).Range(RangeRequest(key=b"final"), timeout=CALL_TIMEOUT_S)
                revision = revision or seen.header.revision
                request = HashKVRequest(revision=revision)
                answers.append(await MaintenanceStub(channel).HashKV(request, timeout=CALL_TIMEOUT_S))
            except grpc.aio.AioRpcError:
                return False
            finally:
                await channel.close()
        if len({answer.compact_revision for answer in answers}) > 1:
            return False
        if len({answer.hash for answer in answers}) > 1:
            names = self._workload.cluster.names
            hashes = ", ".join(f"{member} {each.hash:08x}" for member, each in zip(names, answers, strict=True))
            raise Contradiction("convergence", f"members hold different things at revision {revision}: {hashes}")
        return True


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again: what is asked is elsewhere, so there is no event to wait for."""
    while True:
        if await holds():
            return
        await asyncio.sleep(ASK_AGAIN_S)
