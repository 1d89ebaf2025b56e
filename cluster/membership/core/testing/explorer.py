"""Runs a cluster through random faults and judges it.

Every decision is drawn from one source, so a seed replays a run. Members stop and come back, leave, are slow, change
what they say of themselves; datagrams are lost, doubled, overtaken; the network parts and heals. At the end all is
healed, and within a bounded time all that run must believe that exactly they are there, and agree on every detail.
"""

from dataclasses import dataclass

from cluster.membership.core.config import SwimConfig
from cluster.membership.core.testing.cluster import Cluster, Weather
from runtime.randomness import Randomness

SEEDS = 2
"""The first members, which all others ask for the cluster."""


class Disagreement(AssertionError):
    """The members did not come to the same belief."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each action is, beside letting time pass, which has the rest of 100."""

    stop: int = 6
    restart: int = 8
    leave: int = 3
    slow: int = 6
    quick: int = 8
    part: int = 5
    heal: int = 6
    say: int = 6


class Explorer:
    """One run of one seed."""

    def __init__(
        self, randomness: Randomness, config: SwimConfig, members: int, *, faults: Faults | None = None
    ) -> None:
        self._random = randomness
        self._config = config
        weather = Weather(
            loss=self._pick(0.0, 0.01, 0.1, 0.3),
            double=self._pick(0.0, 0.1),
            late=self._pick(0.0, 0.05),
            latency_ticks=self._pick(0.005, 0.5),
        )
        self.cluster = Cluster(randomness, weather)
        self._names = [f"m{number}" for number in range(members)]
        self._gone: set[str] = set()
        self._said = 0
        faults = faults or Faults()
        self._actions = [
            (faults.stop, self._stop),
            (faults.restart, self._restart),
            (faults.leave, self._leave),
            (faults.slow, self._slow),
            (faults.quick, self._quick),
            (faults.part, self._part),
            (faults.heal, self.cluster.heal),
            (faults.say, self._say),
        ]
        for name in self._names:
            self.cluster.add(name, config, metadata=name.encode())
        for name in self._names:
            self.cluster.join(name, *self._names[:SEEDS])

    def run(self, steps: int) -> None:
        """Takes random steps."""
        for _ in range(steps):
            draw = self._random.integer(0, 100)
            for weight, action in self._actions:
                if draw < weight:
                    action()
                    break
                draw -= weight
            else:
                self.cluster.run(self._random.integer(1, 40))

    def settle(self, ticks_max: float) -> float:
        """Heals everything, and waits until all agree. Returns how long that took. Raises Disagreement."""
        cluster = self.cluster
        cluster.heal()
        cluster.weather = Weather()
        for name in self._names:
            cluster.set_slow(name, slow=False)
            if not cluster.nodes[name].running and name not in self._gone:
                cluster.restart(name, self._config, self._names[:SEEDS], metadata=name.encode())
        start = cluster.now
        if not cluster.run(ticks_max, cluster.agreed):
            raise Disagreement(self.describe())
        return cluster.now - start

    def describe(self) -> str:
        """What each running member believes, a line each."""
        lines = []
        for node in self.cluster.running():
            beliefs = " ".join(
                f"{member.name}={member.status.name}@{member.incarnation}"
                for member in sorted(node.swim._core.roster.members.values(), key=lambda member: member.name)
            )
            lines.append(f"{node.name} at {node.swim.now}: {beliefs}")
        return "\n".join(lines)

    def _pick(self, *choices: float) -> float:
        return choices[self._random.integer(0, len(choices))]

    def _any(self) -> str:
        return self._names[self._random.integer(0, len(self._names))]

    def _stop(self) -> None:
        if len(self.cluster.running()) > 1:
            name = self._any()
            if self.cluster.nodes[name].running:
                self.cluster.stop(name)

    def _restart(self) -> None:
        name = self._any()
        self._gone.discard(name)
        self.cluster.restart(name, self._config, self._names[:SEEDS], metadata=name.encode())

    def _leave(self) -> None:
        name = self._any()
        node = self.cluster.nodes[name]
        # The seeds stay: a cluster of which all seeds have left cannot be found.
        if node.running and name not in self._names[:SEEDS]:
            node.swim.leave()
            self.cluster.flush(node)
            self.cluster.run(self._random.integer(0, 10))
            self.cluster.stop(name)
            self._gone.add(name)

    def _slow(self) -> None:
        self.cluster.set_slow(self._any(), slow=True)

    def _quick(self) -> None:
        self.cluster.set_slow(self._any(), slow=False)

    def _part(self) -> None:
        sides: tuple[list[str], list[str]] = ([], [])
        for name in self._names:
            sides[self._random.integer(0, 2)].append(name)
        if self._random.integer(0, 2):
            self.cluster.partition(*sides)
            return
        # One way only.
        self.cluster.cuts |= {(a, b) for a in sides[0] for b in sides[1]}

    def _say(self) -> None:
        node = self.cluster.nodes[self._any()]
        if node.running:
            self._said += 1
            node.swim.update_metadata(f"said {self._said}".encode())
            self.cluster.flush(node)
