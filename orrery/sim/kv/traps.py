"""Plans of faults in which one rule bears the whole weight: without it, clients soon see what cannot be.

Each is a history from the literature or of an outage, acted out again and again: who is cut off, who comes back and who
dies is arranged; when exactly, is the seed's.
"""

import asyncio

from orrery.sim.faults import IsolateLeader, PowerLoss
from orrery.sim.kv.cluster import KvCluster
from runtime.sim import SimHost

ROUNDS = 6
"""How often each history is acted out in one run."""


async def sudden_darkness(cluster: KvCluster) -> None:
    """All lose their power at once while they write, on slow disks: what was acknowledged too early is gone."""
    random = cluster.world.random
    for _ in range(ROUNDS):
        await cluster.settled()
        await asyncio.sleep(random.uniform(0.5, 1.5))
        async with PowerLoss("all").on(cluster):
            await asyncio.sleep(0.1)


async def stale_candidate(cluster: KvCluster) -> None:
    """A member that missed writes comes back in the moment in which the leader is cut off, and stands for election."""
    world, random, net = cluster.world, cluster.world.random, cluster.world.net
    for _ in range(ROUNDS):
        leader = await _leader(cluster)
        behind = random.choice([member for member in cluster.members if member is not leader])
        behind.tell("falls behind")
        others = [host.name for host in (*cluster.members, *cluster.clients) if host is not behind]
        net.partition([behind.name], others)
        await asyncio.sleep(random.uniform(0.5, 1.5))
        net.heal()
        leader.tell("is cut off")
        net.partition([leader.name], [host.name for host in (*cluster.members, *cluster.clients) if host is not leader])
        await asyncio.sleep(random.uniform(2.5, 4))
        net.heal()
        world.tell("healed")
        await asyncio.sleep(random.uniform(0.2, 1))


async def double_vote(cluster: KvCluster) -> None:
    """Leaders vanish where elections are short and the network is slow: several members stand at once."""
    random = cluster.world.random
    for _ in range(3 * ROUNDS):
        await _leader(cluster)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        async with IsolateLeader().on(cluster):
            await asyncio.sleep(random.uniform(0.2, 0.8))


async def last_word(cluster: KvCluster) -> None:
    """A leader is cut off right after it answered, before the others know that its last entry is committed."""
    random = cluster.world.random
    for _ in range(ROUNDS):
        await _leader(cluster)
        await asyncio.sleep(random.uniform(0.5, 1.0))
        async with IsolateLeader().on(cluster):
            await asyncio.sleep(random.uniform(1.5, 3))


async def long_tail(cluster: KvCluster) -> None:
    """A leader that is cut off with all clients takes what it cannot commit; meanwhile the others change their leader
    twice, with hardly an entry. Then it comes back."""
    random, net = cluster.world.random, cluster.world.net
    for _ in range(ROUNDS):
        leader = await _leader(cluster)
        await asyncio.sleep(random.uniform(0.2, 0.6))
        inside = [leader, *cluster.clients]
        others = [member for member in cluster.members if member is not leader]
        leader.tell("is cut off with all clients")
        net.partition([host.name for host in inside], [host.name for host in others])
        await asyncio.sleep(random.uniform(2.0, 2.5))
        second = await _leader(cluster, but=leader)
        second.kill()
        await asyncio.sleep(random.uniform(2.0, 2.5))
        net.heal()
        cluster.boot_members()
        await asyncio.sleep(random.uniform(0.2, 1.0))


async def figure_8(cluster: KvCluster) -> None:
    """Short terms and leaders that reach one other member at the most: old entries are copied late, by later leaders
    (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, figure 8)."""
    random, net = cluster.world.random, cluster.world.net
    for _ in range(40 * ROUNDS):
        members = random.sample(cluster.members, len(cluster.members))
        cut = random.randint(1, len(members) - 1)
        net.partition([member.name for member in members[:cut]], [member.name for member in members[cut:]])
        for member in members:
            for other in members:
                if member.name < other.name and random.random() < 0.5:
                    net.reset(member.name, other.name)
        await asyncio.sleep(random.uniform(0.02, 0.25))
        net.heal()


async def _leader(cluster: KvCluster, *, but: SimHost | None = None) -> SimHost:
    """Whoever leads, once somebody does; any member but one when that one still says so."""
    leader = await cluster.settled()
    others = [member for member in cluster.members if member is not but and member.process is not None]
    return leader if leader is not but else cluster.world.random.choice(others)
