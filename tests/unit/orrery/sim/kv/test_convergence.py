import asyncio

import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVResponse
from orrery.sim.histories import Histories
from orrery.sim.kv import convergence
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.scenarios import scenario
from orrery.sim.setting import Contradiction
from runtime.sim import SimulationFailed, SwarmOptions, World

MIX = Mix({"put": 1.0, "get": 1.0}, pause_s=0.2, watchers=0, lists=0, locks=0, leases=0)


def played() -> World:
    """A world that has ended."""
    world = World(1, options=SwarmOptions())

    async def faults(cluster: KvCluster) -> None:
        await cluster.settled()
        await asyncio.sleep(1)

    async def play(world: World) -> None:
        await scenario(world, Histories(lambda: 0), faults, MIX, patience_s=5.0)

    world.play(play)
    return world


def cause(failure: SimulationFailed) -> BaseException:
    error: BaseException = failure.__cause__ or failure
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def test_members_that_hold_the_same_converge() -> None:
    assert any("converged in" in line for line in played().trace.story().splitlines())


def test_members_that_hold_different_things_are_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = convergence._Asker._hash

    async def lie(self: convergence._Asker, member: str, revision: int) -> HashKVResponse | None:
        answer = await asked(self, member, revision)
        if answer is not None and member == "kv-2":
            answer.hash ^= 1
        return answer

    monkeypatch.setattr(convergence._Asker, "_hash", lie)
    with pytest.raises(SimulationFailed) as failed:
        played()
    error = cause(failed.value)
    assert isinstance(error, Contradiction)
    assert error.checker == "convergence"
    assert "kv-2" in str(error)


def test_a_member_that_never_serves_is_a_lack_of_liveness(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: convergence._Asker, member: str) -> bool:
        return False

    monkeypatch.setattr(convergence._Asker, "_put", never)
    with pytest.raises(SimulationFailed) as failed:
        played()
    error = cause(failed.value)
    assert isinstance(error, Contradiction)
    assert error.checker == "liveness"
