"""Three members of the real kv service and hosts for clients: gRPC bytes over SimNet, write-ahead logs on SimDisk.

Nothing is replaced but the doors: the wiring of `services.kv.main`, our RPC engine, the generated stubs, the Raft
driver.
"""

import grpc.aio

from cluster.rpc.engine import create_channel
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import SimHost, World
from services.kv.config import AdminConfig, KvConfig, KvSection
from services.kv.main import serve_on

MEMBERS = ("kv-1", "kv-2", "kv-3")
CLIENTS = ("client-1", "client-2", "client-3")
CALL_TIMEOUT_S = 3.0


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

    def heal(self) -> None:
        """Ends every fault, and boots what is down."""
        self.world.net.heal()
        for member in self.members:
            member.disk.fail_syncs = 0
            member.disk.sync_latency_s = self.world.options.sync_latency_s
            member.resume()
        self.boot_members()


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
