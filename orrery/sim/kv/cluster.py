"""Three members of the real kv service and hosts for clients: gRPC bytes over SimNet, write-ahead logs on SimDisk.

Nothing is replaced but the doors: the wiring of `services.kv.main`, our RPC engine, the generated stubs, the Raft
driver.
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVRequest, PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from cluster.rpc.engine import create_channel
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import SimHost, World
from services.kv.config import AdminConfig, KvConfig, KvSection
from services.kv.main import serve_on

MEMBERS = ("kv-1", "kv-2", "kv-3")
CLIENTS = ("client-1", "client-2", "client-3")
CALL_TIMEOUT_S = 3.0
CONVERGED_S_MAX = 120.0
"""How long everything may take to work again once nothing is broken any more."""

ASK_AGAIN_S = 0.2
"""Between two looks whether everything works again."""


class NotConverged(AssertionError):
    """All is healed, and the cluster still does not serve."""


class KvCluster:
    """The members, and the hosts of the clients."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members = [world.host(name) for name in MEMBERS]
        self.clients = [world.host(name) for name in CLIENTS]

    def boot_members(self) -> None:
        """Starts every member that does not run."""
        for member in self.members:
            if member.process is None:
                self.boot(member)

    def boot(self, member: SimHost) -> None:
        """Starts one member."""

        async def main(runtime: Runtime) -> None:
            try:
                await serve_on(runtime, _config(member.name), StopSignal())
            except* SyncFailed:
                # As it must: nothing is known of what was written since the last good sync, so the process ends.
                member.tell("ended by a failed sync")

        member.boot(main)

    async def heal(self) -> None:
        """Ends every fault, then waits until every member serves and holds the same. Raises NotConverged."""
        self.world.net.heal()
        for member in self.members:
            member.disk.fail_syncs = 0
            member.disk.sync_latency_s = self.world.options.sync_latency_s
            member.resume()
        self.boot_members()
        started_s = self.world.virtual_s
        asker = self.world.host("asker")
        try:
            async with asyncio.timeout(CONVERGED_S_MAX):
                await asker.boot(self._converge)
        except TimeoutError as error:
            raise NotConverged(f"not after {CONVERGED_S_MAX} s\n{self.world.loop.describe_waiting()}") from error
        asker.tell(f"converged in {self.world.virtual_s - started_s:.3f} s")

    async def _converge(self, runtime: Runtime) -> None:
        for member in MEMBERS:
            await _until(lambda member=member: self._put_final(runtime, member))  # type: ignore[misc]
        await _until(lambda: self._equal(runtime))

    async def _put_final(self, runtime: Runtime, member: str) -> bool:
        channel = connect(runtime, member)
        try:
            await KVStub(channel).Put(PutRequest(key=b"final", value=member.encode()), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        finally:
            await channel.close()
        return True

    async def _equal(self, runtime: Runtime) -> bool:
        hashes: set[int | None] = set()
        for member in MEMBERS:
            channel = connect(runtime, member)
            try:
                # A linearizable read first: what it sees, the member has applied.
                await KVStub(channel).Range(RangeRequest(key=b"final"), timeout=CALL_TIMEOUT_S)
                answer = await MaintenanceStub(channel).HashKV(HashKVRequest(), timeout=CALL_TIMEOUT_S)
                hashes.add(answer.hash)
            except grpc.aio.AioRpcError:
                hashes.add(None)
            await channel.close()
        return len(hashes) == 1 and None not in hashes


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again: what is asked is elsewhere, so there is no event to wait for."""
    while True:
        if await holds():
            return
        await asyncio.sleep(ASK_AGAIN_S)


def connect(runtime: Runtime, member: str) -> grpc.aio.Channel:
    """A channel to a member's client port."""
    return create_channel(f"{member}:2379", net=runtime.net, random=runtime.random)


def _config(name: str) -> KvConfig:
    return KvConfig(
        node=name,
        data_dir="the simulated disk",
        admin=AdminConfig(listen="0.0.0.0:2381"),
        kv=KvSection(
            listen="0.0.0.0:2379",
            advertise=f"{name}:2379",
            members=tuple(f"{member}={member}:2380" for member in MEMBERS),
        ),
    )
