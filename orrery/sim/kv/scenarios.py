"""A scenario = cluster + workload + faults + judges.

orrery sim run --scenario kv --seeds 1..50                              # under every fault that there is
orrery sim run --scenario kv-deposed --seeds 1..50                      # nothing but partitions around members
orrery sim run --scenario kv --seeds 1..200 --without confirm_reads     # of a cluster that lacks a safeguard
"""

import dataclasses
import logging

from orrery.sim.faults import (
    Bridge,
    ClockDrift,
    ClockStep,
    CrashAt,
    FailingSync,
    FullDisk,
    Isolate,
    IsolateLeader,
    Kill,
    OneWayCut,
    Pause,
    PowerLoss,
    RingMajority,
    SlowDisk,
    SwizzleClog,
)
from orrery.sim.histories import Histories
from orrery.sim.kv.cluster import KvCluster, Shape
from orrery.sim.kv.convergence import converge
from orrery.sim.kv.faults import DRIFT_MAX, Faults, depose, held, rot, swarm, wipe
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.safeguards import SAFEGUARDS, lacking
from orrery.sim.kv.traps import (
    double_vote,
    figure_8,
    last_word,
    long_tail,
    stale_candidate,
    sudden_darkness,
    wiped_voter,
)
from orrery.sim.kv.workload import Workload
from orrery.sim.setting import Contradiction, Setting
from runtime.sim import Limits, SwarmOptions, World
from storage.wal.wal import AFTER_WRITE, BEFORE_SEGMENT, BEFORE_WRITE

LIMITS = Limits(virtual_s_max=600.0)
TRAP_LIMITS = Limits(virtual_s_max=300.0, steps_max=300_000)
"""Members that lack a rule may contradict each other without end, and fill the network with it."""
CALM = SwarmOptions()


async def scenario(
    world: World,
    histories: Histories,
    faults: Faults,
    mix: Mix | None = None,
    shape: Shape | None = None,
    patience_s: float = 120.0,
) -> Workload:
    """Boots, works, breaks, heals, converges. Judged are the histories, by whoever plays this. Raises Contradiction."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    cluster = KvCluster(world, shape, patience_s=patience_s)
    cluster.boot_members()
    workload = Workload(cluster, histories, mix)
    workload.start()
    await faults(cluster)
    # Clients stop with the faults: members are compared when nothing is written any more.
    workload.stop()
    cluster.heal()
    await converge(workload)
    if cluster.broken:
        raise Contradiction("invariant", f"members contradicted themselves: {'; '.join(cluster.broken)}")
    return workload


def kv_setting(
    faults: Faults,
    options: SwarmOptions | None = None,
    *,
    mix: Mix | None = None,
    members: int = 3,
    shape: Shape | None = None,
    patience_s: float = 120.0,
    limits: Limits = LIMITS,
    engines: bool = False,
) -> Setting:
    """The kv cluster under these faults; with fixed options, mix and shape, or those that a seed draws."""

    async def play(world: World, histories: Histories) -> None:
        built = shape or Shape.draw(world.stream("shape"), members, engines=engines)
        await scenario(world, histories, faults, mix, built, patience_s)

    return Setting(play, limits=limits, safeguards=SAFEGUARDS, lacking=lacking, options=options)


REGISTERS = Mix({"put": 2.0, "get": 2.0}, pause_s=0.1, groups=1, watchers=0, lists=0, locks=0, leases=0)
"""Little, and fast: what lacks is to show, not to be searched for."""
LEASES = dataclasses.replace(REGISTERS, registers=0, leases=2)
CROWD = dataclasses.replace(REGISTERS, registers=6, groups=2)
WRITERS = dataclasses.replace(REGISTERS, weights={"put": 3.0, "get": 1.0}, registers=6)
SHORT_TERMS = Shape(members=5, tick_ms=20, election_ms=200)


def _drift() -> ClockDrift:
    return ClockDrift("all", fraction_max=DRIFT_MAX)


def _kill_leader() -> Kill:
    return Kill("leader")


def _trap(faults: Faults, options: SwarmOptions, *, mix: Mix = REGISTERS, shape: Shape | None = None) -> Setting:
    """A calm world and a small workload, so that a lack shows soon and clearly, and gives up soon."""
    return kv_setting(faults, options, mix=mix, shape=shape or Shape(), patience_s=30.0, limits=TRAP_LIMITS)


SETTINGS = {
    "kv": kv_setting(swarm),
    "kv-5": kv_setting(swarm, members=5),
    "kv-engines": kv_setting(swarm, engines=True),
    "kv-engines-power-loss": kv_setting(
        held(PowerLoss, lambda: PowerLoss("leader"), lambda: PowerLoss("all"), hold_s=2.0), engines=True
    ),
    "kv-deposed": _trap(depose, CALM),
    "kv-isolate-leader": kv_setting(held(IsolateLeader)),
    "kv-one-way": kv_setting(
        held(OneWayCut, lambda: Isolate(open_way="in"), lambda: IsolateLeader(open_way="out")), members=5
    ),
    "kv-swizzle-clog": kv_setting(held(SwizzleClog)),
    "kv-bridge": kv_setting(held(Bridge), members=5),
    "kv-ring": kv_setting(held(RingMajority), members=5),
    "kv-kill": kv_setting(held(Kill, _kill_leader, lambda: Kill("all"), hold_s=2.0)),
    "kv-power-loss": kv_setting(held(PowerLoss, lambda: PowerLoss("leader"), lambda: PowerLoss("all"), hold_s=2.0)),
    "kv-crash-points": kv_setting(
        held(
            lambda: CrashAt(BEFORE_WRITE, "leader"),
            lambda: CrashAt(AFTER_WRITE, "leader"),
            lambda: CrashAt(AFTER_WRITE),
            lambda: CrashAt(BEFORE_SEGMENT),
            hold_s=2.0,
        )
    ),
    "kv-pause": kv_setting(held(Pause, lambda: Pause("leader"))),
    "kv-slow-disk": kv_setting(held(SlowDisk, lambda: SlowDisk("leader", factor=500))),
    "kv-bad-disk": kv_setting(held(FailingSync, FullDisk, lambda: FailingSync("leader"), hold_s=2.0)),
    "kv-clocks": kv_setting(held(_drift, lambda: ClockStep("all"), ClockStep)),
    "kv-bit-rot": kv_setting(rot, shape=Shape()),
    "kv-wipe": kv_setting(wipe),
    "kv-wipe-5": kv_setting(wipe, members=5),
    "kv-darkness": _trap(sudden_darkness, SwarmOptions(sync_latency_s=0.1), mix=CROWD),
    "kv-stale-candidate": _trap(stale_candidate, CALM),
    "kv-wiped-voter": _trap(wiped_voter, CALM),
    "kv-double-vote": _trap(double_vote, SwarmOptions(latency_s=0.01), shape=SHORT_TERMS),
    "kv-last-word": _trap(last_word, SwarmOptions(latency_s=0.02, sync_latency_s=0.1), mix=CROWD),
    "kv-long-tail": _trap(long_tail, CALM, shape=Shape(members=5)),
    "kv-leases": _trap(held(_kill_leader, IsolateLeader, hold_s=1.0), CALM, mix=LEASES),
    "kv-lease-clocks": _trap(held(lambda: ClockStep("all"), ClockStep), CALM, mix=LEASES),
    "kv-figure-8": _trap(figure_8, SwarmOptions(latency_s=0.02, latency_sigma=0.0), mix=WRITERS, shape=SHORT_TERMS),
}
"""By the names in `orrery/sim/scenarios.py`."""
