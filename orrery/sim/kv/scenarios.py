"""A scenario = cluster + workload + faults + judges.

orrery sim run --scenario kv --seeds 1..50                              # under every fault that there is
orrery sim run --scenario kv-deposed --seeds 1..50                      # nothing but partitions around members
orrery sim run --scenario kv --seeds 1..200 --without confirm_reads     # of a cluster that lacks a safeguard
"""

import logging

from orrery.sim.histories import Histories
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.convergence import converge
from orrery.sim.kv.faults import Faults, break_things, depose
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.safeguards import SAFEGUARDS, lacking
from orrery.sim.kv.workload import Workload
from orrery.sim.setting import Setting
from runtime.sim import Limits, SwarmOptions, World

LIMITS = Limits(virtual_s_max=600.0)


async def scenario(world: World, histories: Histories, faults: Faults, mix: Mix | None = None) -> Workload:
    """Boots, works, breaks, heals, converges. Judged are the histories, by whoever plays this."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    cluster = KvCluster(world)
    cluster.boot_members()
    workload = Workload(cluster, histories, mix)
    workload.start()
    await faults(cluster)
    # Clients stop with the faults: members are compared when nothing is written any more.
    workload.stop()
    cluster.heal()
    await converge(workload)
    return workload


def kv_setting(faults: Faults, options: SwarmOptions | None = None, mix: Mix | None = None) -> Setting:
    """The kv cluster under these faults; with fixed options and a fixed mix, or those that a seed draws."""

    async def play(world: World, histories: Histories) -> None:
        await scenario(world, histories, faults, mix)

    return Setting(play, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking, options=options)


SETTINGS = {
    "kv": kv_setting(break_things),
    "kv-deposed": kv_setting(depose, SwarmOptions()),
}
"""By the names in `orrery/sim/scenarios.py`."""
