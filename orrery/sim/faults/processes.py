"""Processes that end or stand still. Healing boots them again, on what their disks kept."""

from orrery.sim.faults.nemesis import Cluster, Nemesis, Whom, choose
from runtime.sim import SimHost


class _Ends(Nemesis):
    """Ends members; healing boots those that still do not run."""

    def __init__(self, whom: Whom = "one") -> None:
        self._whom = whom
        self._ended: list[SimHost] = []

    def _end(self, cluster: Cluster, member: SimHost) -> None:
        raise NotImplementedError

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            self._ended.append(member)
            self._end(cluster, member)

    async def _heal(self, cluster: Cluster) -> None:
        ended, self._ended = self._ended, []
        for member in ended:
            if member.process is None:
                cluster.boot(member)


class Kill(_Ends):
    """`kill -9`: the disk keeps all, and the kernel tells the others."""

    name = "kill"

    def _end(self, cluster: Cluster, member: SimHost) -> None:
        member.kill()


class PowerLoss(_Ends):
    """The power goes: of what was not synced the disk keeps a seeded part, and nobody is told."""

    name = "power-loss"

    def _end(self, cluster: Cluster, member: SimHost) -> None:
        member.crash()


class CrashAt(_Ends):
    """Members lose their power when they next pass a failpoint, so that a step is half done; one that none passes
    until the end of the fault crashes then."""

    name = "crash-at"

    def __init__(self, failpoint: str, whom: Whom = "one", *, skip: int = 0) -> None:
        super().__init__("one" if whom in ("minority", "all") else whom)
        self._failpoint = failpoint
        self._skip = skip
        self._lives = 0

    def _end(self, cluster: Cluster, member: SimHost) -> None:
        self._lives = member.lives
        cluster.world.sites.arm(member, self._failpoint, skip=self._skip)

    async def _heal(self, cluster: Cluster) -> None:
        cluster.world.sites.disarm(self._failpoint)
        for member in self._ended:
            if member.process is not None and member.lives == self._lives:
                member.crash()
        await super()._heal(cluster)


class Pause(Nemesis):
    """SIGSTOP: the kernel goes on and takes bytes, the process does not run, and its clock goes on."""

    name = "pause"

    def __init__(self, whom: Whom = "one") -> None:
        self._whom = whom
        self._paused: list[SimHost] = []

    async def _strike(self, cluster: Cluster) -> None:
        for member in await choose(cluster, self._whom):
            self._paused.append(member)
            member.pause()

    async def _heal(self, cluster: Cluster) -> None:
        while self._paused:
            self._paused.pop().resume()
