import asyncio

import pytest

from orrery.sim.faults import CrashAt, Kill, Nemesis, Pause, PowerLoss
from orrery.sim.faults.testing import HostCluster, Play
from runtime.failpoints import failpoint, register

SITE = register("test.sim.faults")


@pytest.mark.parametrize("kind", [Kill, PowerLoss])
def test_a_minority_ends_and_is_booted_again(play: Play, kind: type[Kill | PowerLoss]) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with kind("minority").on(cluster):
            ended = [member for member in cluster.members if member.process is None]
            assert len(ended) == (len(cluster.members) - 1) // 2
            assert all(member.powered == (kind is Kill) for member in ended)
        assert all(member.process is not None for member in cluster.members)

    play(scenario)


def test_whoever_leads_or_all(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        cluster.leads = cluster.members[2]
        async with Kill("leader").on(cluster):
            assert [member.process is None for member in cluster.members].index(True) == 2
            # Another nemesis finds some of them ended already, and one that was booted meanwhile.
            async with PowerLoss("all").on(cluster):
                assert all(member.process is None for member in cluster.members)
                cluster.boot(cluster.members[0])
        assert all(member.process is not None for member in cluster.members)

    play(scenario)


def test_who_is_paused_goes_on(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        async with Pause("all").on(cluster):
            assert all(member.process is not None and member.process.paused for member in cluster.members)
            cluster.members[0].kill()
        assert not any(member.process is not None and member.process.paused for member in cluster.members)

    play(scenario)


@pytest.mark.parametrize("passes", [True, False])
def test_power_is_lost_at_a_failpoint_or_at_the_end(play: Play, passes: bool) -> None:
    async def work() -> None:
        failpoint(SITE)

    async def scenario(cluster: HostCluster) -> None:
        leader = cluster.leads = cluster.members[0]
        nemesis: Nemesis = CrashAt(SITE, "leader")
        async with nemesis.on(cluster):
            if passes:
                leader.spawn(work(), name="work")
            await asyncio.sleep(1)
            assert (leader.process is None) == passes
        leader.spawn(work(), name="work")
        await asyncio.sleep(1)
        assert leader.lives == 2
        assert leader.process is not None

    play(scenario)
