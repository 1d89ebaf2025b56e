"""Opens replicas for a service.

    host = await ReplicaHost.open(
        runtime, "raft", member_id=1, voters=[1, 2, 3],
        transport=GrpcTransport(
            member_id=1, cluster_id=7, addresses={1: "127.0.0.1:7001", 2: "127.0.0.1:7002", 3: "127.0.0.1:7003"},
            channel_factory=grpc.aio.insecure_channel, server=server, random=runtime.random,
        ),
    )
    replica = await host.replica(1, state_machine)       # restored; not serving yet
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.run())                    # raises when the disk or the state machine fails
        await replica.propose(command, timeout_s=5)
        await replica.read_barrier(timeout_s=5)
        await host.stop()

The health of a replica: `replica.leadership.leader != 0`, and `read_barrier` returns. The driver's counters are
`host.raft.counters`, `host.raft.wal.statistics`, `transport.counters[peer]`.

`server` is the `grpc.aio.Server` (or one of its shape) that the service makes, starts and stops: the transport only
registers its servicer there. The service starts it after its replicas are open.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from cluster.raft.core import Witnesses
from cluster.raft.driver import HostOptions, PeerTransport, RaftHost
from cluster.replica.interface import DurableState, StateMachine
from cluster.replica.replica import Replica
from runtime import Runtime

ResultT = TypeVar("ResultT")


class ReplicaHost:
    """All replicas of a process. `raft` is the driver underneath, with its counters and groups."""

    def __init__(self, raft: RaftHost, voters: Sequence[int], *, may_rebuild: bool) -> None:
        self.raft = raft
        self.may_rebuild = may_rebuild
        """Whether what is lost here can be had from the other members."""
        self._voters = tuple(voters)

    @staticmethod
    async def open(
        runtime: Runtime,
        directory: str,
        *,
        member_id: int,
        voters: Sequence[int],
        transport: PeerTransport,
        options: HostOptions | None = None,
        observe_sync: Callable[[float], None] | None = None,
    ) -> "ReplicaHost":
        """Locks and reads `directory` (relative to the disk's root).

        `voters` are the members that found new groups, the same on each of them; later changes of the membership are
        in the log. A damaged log is rebuilt from the other members when the group can do without one.
        `observe_sync` is told how long each synced write of the log took, in seconds.
        Raises DirectoryInUse, ReplicaCorrupted, SyncFailed, OSError, ValueError.
        """
        if member_id not in voters:
            raise ValueError(f"member {member_id} is not among the voters {sorted(voters)}")
        options = options or HostOptions()
        may_rebuild = Witnesses.of(len(voters)).spares > 0 and options.safeguards.recover_before_voting
        raft = await RaftHost.open(
            runtime,
            directory,
            member_id=member_id,
            transport=transport,
            options=options,
            may_rebuild=may_rebuild,
            observe_sync=observe_sync,
        )
        return ReplicaHost(raft, voters, may_rebuild=may_rebuild)

    async def replica(
        self, group_id: int, state_machine: StateMachine[ResultT], durable: DurableState | None = None
    ) -> Replica[ResultT]:
        """Opens one group. A state machine without `durable` must be empty: it is restored from the newest snapshot
        here. One with it holds what `durable` found, and is restored only when the log begins after that.
        """
        replica = Replica(state_machine, self.raft, durable)
        replica.bind(await self.raft.add_group(group_id, replica, voters=self._voters))
        return replica

    async def run(self) -> None:
        """Serves until `stop`. Raises whatever ended the host; see RaftHost.run."""
        await self.raft.run()

    async def stop(self, *, hand_over_s: float = 1.0) -> None:
        """Stops serving: leadership is handed over first, if that takes no longer than `hand_over_s` seconds; then
        callers get ReplicaStopped, and the log is closed. Raises SyncFailed.
        """
        await self.raft.hand_over(timeout_s=hand_over_s)
        await self.raft.stop()
