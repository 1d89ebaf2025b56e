import asyncio

from orrery.sim.faults import ClockDrift, Cluster, Halves, Kill, Nemesis, Pause, SlowDisk, SwizzleClog, harass, restore
from orrery.sim.faults.testing import HostCluster, Play


def test_faults_overlap_within_the_limit_and_all_heal(play: Play) -> None:
    counts: list[int] = []

    class Counting(Nemesis):
        name = "counting"
        under_way = 0

        async def _strike(self, cluster: Cluster) -> None:
            Counting.under_way += 1
            counts.append(Counting.under_way)

        async def _heal(self, cluster: Cluster) -> None:
            Counting.under_way -= 1

    async def scenario(cluster: HostCluster) -> None:
        await harass(cluster, [Counting], for_s=60, gap_s=0.5, at_once_max=2)
        assert 60 <= cluster.world.virtual_s < 70
        assert Counting.under_way == 0

    play(scenario)
    assert max(counts) == 2


def test_what_is_left_is_restored(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        for nemesis in (Halves(), Kill("all"), SlowDisk("all")):
            await cluster.struck(nemesis)
        restore(cluster)
        for later in (Pause("all"), SwizzleClog(), ClockDrift("all")):
            await cluster.struck(later)
        restore(cluster)
        assert not cluster.cut()
        assert not cluster.clogged()
        for member in cluster.members:
            assert member.process is not None
            assert not member.process.paused
            assert member.rate == member.rate_at_first
            assert member.disk.sync_latency_s == cluster.world.options.sync_latency_s
        await asyncio.sleep(1)

    play(scenario)
