"""Plans of faults in which one rule bears the whole weight: without it, clients soon see what cannot be.

Each is a history from the literature or of an outage, acted out again and again: who is cut off, who comes back and who
dies is arranged; when exactly, is the seed's.
"""

import asyncio

from orrery.sim.faults import IsolateLeader, PowerLoss
from orrery.sim.kv.cluster import KvCluster
from runtime.sim import SimHost
from storage.wal.wal import AFTER_WRITE

ELECTED_S_MAX = 3.0
"""How long an election may take, and what follows it."""
NEAR = 0.001
"""Of the others' latency, that of the observer."""
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


async def wiped_voter(cluster: KvCluster) -> None:
    """Who acknowledged the last writes loses its disk, and the leader vanishes as it comes back: the third member,
    which was behind, may be elected by one that knows nothing any more."""
    random, net = cluster.world.random, cluster.world.net
    for _ in range(ROUNDS):
        await cluster.whole()
        leader = await cluster.settled()
        wiped, behind = random.sample([member for member in cluster.members if member is not leader], 2)
        behind.tell("falls behind")
        near = [host.name for host in (leader, wiped, *cluster.clients)]
        net.partition([behind.name], near)
        await asyncio.sleep(random.uniform(0.5, 1.5))
        wiped.kill()
        wiped.wipe()
        leader.tell("is cut off")
        net.partition([leader.name], [host.name for host in (wiped, behind, *cluster.clients)])
        net.mend(behind.name, wiped.name)
        for client in cluster.clients:
            net.mend(behind.name, client.name)
        cluster.boot(wiped)
        await asyncio.sleep(random.uniform(2.5, 4))
        net.heal()


async def figure_8(cluster: KvCluster) -> None:
    """Figure 8 of Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, with five members.

    A leader and one friend hold an entry that nobody else has (a). Another member is elected by the rest and dies when
    its own first entry is on its disk alone (b). Leader or friend is elected, copies the old entry to a majority (c),
    and is cut off before its new one gets there. The dead member returns, wins by its newer term, and replaces the old
    entry (d): whoever took that one for committed has told a lie.
    """
    for member in cluster.members:
        # What is committed must be known sooner than the members' messages are there.
        cluster.world.net.slow(cluster.observer.host.name, member.name, NEAR)
        cluster.world.net.slow(member.name, cluster.observer.host.name, NEAR)
    for _ in range(ROUNDS):
        await _figure_8_once(cluster)


async def _figure_8_once(cluster: KvCluster) -> None:
    world, random, net = cluster.world, cluster.world.random, cluster.world.net
    leader = await cluster.settled()
    friend, *rest = random.sample([member for member in cluster.members if member is not leader], 4)
    near = [leader.name, friend.name, *(client.name for client in cluster.clients)]
    far = [member.name for member in rest]
    world.tell(f"{leader.name} and {friend.name} are alone")
    net.partition(near, far)
    # What was on its way may still be written; nobody stands for election before this has passed.
    await asyncio.sleep(cluster.shape.election_ms / 1000 * 0.9)
    late = await _elected_and_dead(cluster, rest) or rest[0]
    committed = await _committed(cluster, [leader, friend])
    for name in far:
        # What the dead one sent dies with it.
        if name != late.name:
            net.reset(late.name, name)
            net.mend(late.name, name)
    _mend(cluster, near, far)
    try:
        async with asyncio.timeout(ELECTED_S_MAX):
            while True:
                if await _committed(cluster, [leader, friend]) > committed:
                    break
                await asyncio.sleep(world.options.latency_s / 5)
    except TimeoutError:
        world.tell("nobody copies the old entry")
    world.tell(f"{leader.name} and {friend.name} are alone again")
    net.partition(near, far)
    if late.process is None:
        cluster.boot(late)
    await asyncio.sleep(random.uniform(1.0, 1.5))
    _mend(cluster, near, far)
    cluster.boot_members()
    await asyncio.sleep(random.uniform(0.5, 1.0))


def _mend(cluster: KvCluster, side: list[str], other: list[str]) -> None:
    for one in side:
        for another in other:
            cluster.world.net.mend(one, another)


async def _committed(cluster: KvCluster, members: list[SimHost]) -> int:
    """How far the furthest of them has committed, as far as they answer."""
    return max(0 if status is None else status.raftIndex for status in await cluster.observer.statuses(members))


async def _elected_and_dead(cluster: KvCluster, members: list[SimHost]) -> SimHost | None:
    """Waits until one of them is elected and has its first entry on its disk, and takes its power in that moment.

    The first write of who is elected holds its vote for itself, the second its first entry. None: nobody was, soon.
    """
    dead: asyncio.Future[SimHost] = asyncio.get_running_loop().create_future()
    writes = dict.fromkeys(members, 0)

    def wrote(host: SimHost) -> None:
        if host not in writes or dead.done():
            return
        writes[host] += 1
        if writes[host] == 2:
            for other in members:
                if other is not host:
                    cluster.world.net.cut(host.name, other.name, both=False)
            dead.set_result(host)
            host.crash()

    cluster.world.sites.watch(AFTER_WRITE, wrote)
    try:
        async with asyncio.timeout(ELECTED_S_MAX):
            return await dead
    except TimeoutError:
        return None
    finally:
        cluster.world.sites.disarm(AFTER_WRITE)


async def _leader(cluster: KvCluster, *, but: SimHost | None = None) -> SimHost:
    """Whoever leads, once somebody does; any member but one when that one still says so."""
    leader = await cluster.settled()
    others = [member for member in cluster.members if member is not but and member.process is not None]
    return leader if leader is not but else cluster.world.random.choice(others)
