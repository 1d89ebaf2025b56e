"""A scenario = cluster + workload + faults + judges.

orrery sim run --scenario kv --seeds 1..50                              # under every fault that there is
orrery sim run --scenario kv-deposed --seeds 1..50                      # nothing but partitions around members
orrery sim run --scenario kv --seeds 1..200 --without confirm_reads     # of a cluster that lacks a safeguard
"""

import asyncio
import logging

from orrery.sim.kv.cluster import CONVERGED_S_MAX, KvCluster
from orrery.sim.kv.faults import Faults, break_things, depose
from orrery.sim.kv.judging import judge
from orrery.sim.kv.safeguards import SAFEGUARDS, lacking
from orrery.sim.kv.workload import Workload
from orrery.sim.setting import Setting
from runtime.sim import Limits, SwarmOptions, World

LIMITS = Limits(virtual_s_max=600.0)


async def scenario(world: World, faults: Faults) -> Workload:
    """Boots, works, breaks, heals, converges, judges."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    cluster = KvCluster(world)
    cluster.boot_members()
    workload = Workload(cluster)
    workload.start()
    await faults(cluster)
    # Clients stop with the faults: members are compared when nothing is written any more.
    workload.stop()
    await cluster.heal()
    async with asyncio.timeout(CONVERGED_S_MAX):
        await workload.ended()
    judge(cluster, workload)
    return workload


def kv_setting(faults: Faults, options: SwarmOptions | None = None) -> Setting:
    """The kv cluster under these faults; fixed options, or those that a seed draws."""

    async def play(world: World) -> None:
        await scenario(world, faults)

    return Setting(play, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking, options=options)


SETTINGS = {
    "kv": kv_setting(break_things),
    "kv-deposed": kv_setting(depose, SwarmOptions()),
}
"""By the names in `orrery/sim/scenarios.py`."""
