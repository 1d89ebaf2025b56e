"""Plans of faults in which one rule bears the whole weight: without it, clients soon see what cannot be.

Each is a history from the literature or of an outage, acted out again and again: who is cut off, who comes back and who
dies is arranged; when exactly, is the seed's.
"""

import asyncio

from orrery.sim.faults import IsolateLeader, PowerLoss
from orrery.sim.kv.cluster import KvCluster
from runtime.sim import SimHost
from storage.wal.wal import AFTER_WRITE

SECOND_WRITE_S_MAX = 3.0
"""How long an election may take, and what follows it."""
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
    """Figure 8 of Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, with five members.

    A leader and one friend hold an entry that nobody else has (a). Another member is elected by the rest and dies when
    its own first entry is on its disk alone (b). Leader or friend is elected, copies the old entry to a majority (c),
    and is cut off before its new one gets there. The dead member returns, wins by its newer term, and replaces the old
    entry (d): whoever took that one for committed has told a lie.
    """
    for _ in range(ROUNDS):
        await _figure_8_once(cluster)


async def _figure_8_once(cluster: KvCluster) -> None:
    world, random, net = cluster.world, cluster.world.random, cluster.world.net
    leader = await cluster.settled()
    friend, *rest = random.sample([member for member in cluster.members if member is not leader], 4)
    pair, clients = [leader.name, friend.name], [client.name for client in cluster.clients]
    world.tell(f"{leader.name} and {friend.name} are alone")
    net.partition(pair + clients, [member.name for member in rest])
    # The first write of who is elected holds its vote for itself, the second its first entry.
    late = await _second_write(cluster, rest, dies=True) or rest[0]
    _mend(cluster, pair + clients, [member.name for member in rest])
    # The first write of who follows holds its vote, the second the old entry: that of a majority, once it is told.
    await _second_write(cluster, [member for member in rest if member is not late], dies=False)
    await asyncio.sleep(world.options.latency_s * random.uniform(1.1, 1.9))
    world.tell(f"{leader.name} and {friend.name} are alone again")
    net.partition(pair + clients, [member.name for member in rest])
    if late.process is None:
        cluster.boot(late)
    await asyncio.sleep(random.uniform(1.0, 1.5))
    _mend(cluster, pair + clients, [member.name for member in rest])
    cluster.boot_members()
    await asyncio.sleep(random.uniform(0.5, 1.0))


async def _second_write(cluster: KvCluster, members: list[SimHost], *, dies: bool) -> SimHost | None:
    """Waits until the log of one of them is written for the second time from now on, and says whose; None: not soon.

    Who `dies` loses its power in that moment.
    """
    second: asyncio.Future[SimHost] = asyncio.get_running_loop().create_future()
    writes = dict.fromkeys(members, 0)

    def wrote(host: SimHost) -> None:
        if host in writes and not second.done():
            writes[host] += 1
            if writes[host] == 2:
                second.set_result(host)
                if dies:
                    host.crash()

    cluster.world.sites.watch(AFTER_WRITE, wrote)
    try:
        async with asyncio.timeout(SECOND_WRITE_S_MAX):
            return await second
    except TimeoutError:
        return None
    finally:
        cluster.world.sites.disarm(AFTER_WRITE)


def _mend(cluster: KvCluster, side: list[str], other: list[str]) -> None:
    for one in side:
        for another in other:
            cluster.world.net.mend(one, another)


async def _leader(cluster: KvCluster, *, but: SimHost | None = None) -> SimHost:
    """Whoever leads, once somebody does; any member but one when that one still says so."""
    leader = await cluster.settled()
    others = [member for member in cluster.members if member is not but and member.process is not None]
    return leader if leader is not but else cluster.world.random.choice(others)
