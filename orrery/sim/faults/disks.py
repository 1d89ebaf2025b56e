"""Disks that are slow, full, lying, rotten or gone."""

from orrery.sim.faults.nemesis import Cluster, Nemesis, Whom, choose
from runtime.sim import SimDisk, SimHost

LOG_SUFFIX = ".wal"
"""Of the segments of a write-ahead log; by their names they sort in its order."""


def heal_disk(host: SimHost) -> None:
    """Ends every fault of a host's disk. What it has lost stays lost, and what is rotten stays so."""
    disk, options = host.disk, host.world.options
    disk.fail_syncs = disk.fail_reads = disk.fail_writes = 0
    disk.lie_about_sync = False
    disk.capacity_bytes = None
    disk.latency_s, disk.sync_latency_s = options.disk_latency_s, options.sync_latency_s


class _Disks(Nemesis):
    """Switches something on at the disks of some members, and off again."""

    def __init__(self, whom: Whom = "one") -> None:
        self._whom = whom
        self._struck: list[tuple[SimHost, SimDisk]] = []

    def _break(self, host: SimHost) -> None:
        raise NotImplementedError

    def _mend(self, host: SimHost) -> None:
        raise NotImplementedError

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            self._struck.append((member, member.disk))
            self._break(member)

    async def _heal(self, cluster: Cluster) -> None:
        while self._struck:
            member, disk = self._struck.pop()
            if member.disk is disk:
                self._mend(member)


class SlowDisk(_Disks):
    """Every operation takes so many times as long."""

    name = "slow-disk"

    def __init__(self, whom: Whom = "one", *, factor: float = 100.0) -> None:
        super().__init__(whom)
        self._factor = factor

    def _break(self, host: SimHost) -> None:
        host.tell(f"disk is slower by {self._factor:g}")
        self._set(host, self._factor)

    def _mend(self, host: SimHost) -> None:
        host.tell("disk is as fast as before")
        self._set(host, 1.0)

    @staticmethod
    def _set(host: SimHost, factor: float) -> None:
        options = host.world.options
        host.disk.latency_s = options.disk_latency_s * factor
        host.disk.sync_latency_s = options.sync_latency_s * factor


class FailingSync(_Disks):
    """The next sync fails. The process must end, since nothing is known of what the disk holds; healing boots it."""

    name = "failing-sync"

    def _break(self, host: SimHost) -> None:
        host.tell("the next sync will fail")
        host.disk.fail_syncs = 1

    def _mend(self, host: SimHost) -> None:
        host.disk.fail_syncs = 0

    async def _heal(self, cluster: Cluster) -> None:
        struck = [member for member, _ in self._struck]
        await super()._heal(cluster)
        _boot(cluster, struck)


class FullDisk(_Disks):
    """There is room for a few bytes more, and then for none. Healing makes room, and boots who ended by it."""

    name = "full-disk"

    def __init__(self, whom: Whom = "one", *, room_bytes: int = 4096) -> None:
        super().__init__(whom)
        self._room_bytes = room_bytes

    def _break(self, host: SimHost) -> None:
        host.tell(f"disk has room for {self._room_bytes} bytes more")
        host.disk.capacity_bytes = host.disk.used_bytes + self._room_bytes

    def _mend(self, host: SimHost) -> None:
        host.tell("disk has room")
        host.disk.capacity_bytes = None

    async def _heal(self, cluster: Cluster) -> None:
        struck = [member for member, _ in self._struck]
        await super()._heal(cluster)
        _boot(cluster, struck)


class LyingSync(_Disks):
    """Syncs return at once and persist nothing, as on a drive that ignores flushes; healing takes the power, too.

    No protocol survives this on a majority, and Raft not on a minority either, when others fail with it: what the
    liar acknowledged does not count, and it may vote twice. For scenarios that must be found out.
    """

    name = "lying-sync"

    def __init__(self, whom: Whom = "minority") -> None:
        super().__init__(whom)

    def _break(self, host: SimHost) -> None:
        host.tell("disk lies about syncs")
        host.disk.lie_about_sync = True

    def _mend(self, host: SimHost) -> None:
        host.crash()
        host.tell("disk is honest")
        host.disk.lie_about_sync = False

    async def _heal(self, cluster: Cluster) -> None:
        struck = [member for member, _ in self._struck]
        await super()._heal(cluster)
        _boot(cluster, struck)


class Wipe(Nemesis):
    """Members lose their whole disks, and are booted on empty ones."""

    name = "wipe"

    def __init__(self, whom: Whom = "minority") -> None:
        self._whom = whom
        self._wiped: list[SimHost] = []

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            self._wiped.append(member)
            member.kill()
            member.wipe()

    async def _heal(self, cluster: Cluster) -> None:
        wiped, self._wiped = self._wiped, []
        _boot(cluster, wiped)


class BitRot(Nemesis):
    """One bit of a closed segment of a member's log has turned over, and the member is started on it.

    It must not serve from it: that is no torn tail. Healing turns the bit back where the file is still there and
    nothing runs, as a repair from elsewhere would. Does nothing where no member has a closed segment.
    """

    name = "bit-rot"

    def __init__(self) -> None:
        self.rotten: SimHost | None = None
        """Who was hit, while it is."""
        self._path = ""
        self._bit = 0

    async def _strike(self, cluster: Cluster) -> None:
        random = cluster.world.random
        victims = [(member, path) for member in cluster.members for path in closed_segments(member.disk)]
        if not victims:
            return
        self.rotten, self._path = random.choice(victims)
        self._bit = random.randrange(8 * len(self.rotten.disk.content(self._path)))
        self.rotten.kill()
        self.rotten.tell(f"bit {self._bit} of {self._path} turns over")
        self.rotten.disk.flip_bit(self._path, self._bit)
        cluster.boot(self.rotten)

    async def _heal(self, cluster: Cluster) -> None:
        rotten, self.rotten = self.rotten, None
        if rotten is None:
            return
        if rotten.process is None and self._path in rotten.disk.paths():
            rotten.tell(f"bit {self._bit} of {self._path} turned back")
            rotten.disk.flip_bit(self._path, self._bit)
        _boot(cluster, [rotten])


def closed_segments(disk: SimDisk) -> list[str]:
    """The segments of logs that are written no more: all but the last of each directory."""
    segments = [path for path in disk.paths() if path.endswith(LOG_SUFFIX)]
    last = {path.rpartition("/")[0]: path for path in segments}
    return [path for path in segments if last[path.rpartition("/")[0]] != path]


def _boot(cluster: Cluster, members: list[SimHost]) -> None:
    for member in members:
        if member.process is None:
            cluster.boot(member)
