"""What the clients of a run do, how often, and on how many keys: drawn by the seed, as the faults and the world are.

Each run does a part of everything only (swarm testing; Groce et al., ISSTA 2012): what always happens hides what
happens only without it.
"""

import random
from dataclasses import dataclass

OPERATIONS = ("put", "get", "delete", "cas", "update", "txn", "get-prefix", "delete-prefix")
"""What a register client does. `update` reads, and writes if nothing has changed since, again and again."""
ALWAYS = ("put", "get")
CALLS_PER_S = (10.0, 20.0, 40.0)
"""Of all clients together, when every call is answered at once."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The workload of one run."""

    weights: dict[str, float]
    """Of each of OPERATIONS that is done at all."""
    pause_s: float
    """Mean pause of a client between two calls."""
    registers: int = 2
    """Clients of registers on each host."""
    groups: int = 2
    """Sets of keys that are used at a time. Transactions and prefixes stay within one."""
    group_keys: int = 2
    group_operations_max: int = 60
    """Then a group's keys are given up for new ones: what must be judged together stays small."""
    tells_versions: bool = True
    """Whether answers are recorded with the keys' versions."""
    watchers: int = 1
    """On each host."""
    watch_life_s: float = 4.0
    """Mean time after which a watch is broken off and resumed elsewhere."""
    lists: int = 1
    """Clients of lists on each host."""
    locks: int = 1
    """Clients of locks on each host."""
    leases: int = 1
    """Clients of leases on each host."""
    compaction_s: float = 0.0
    """Mean time between compactions; 0: none."""
    timeout_s: float = 3.0
    """How long clients wait for an answer. A member tries for longer than that."""

    @staticmethod
    def draw(source: random.Random, clients: int) -> "Mix":
        """The mix of one seed, for so many hosts."""
        pick = source.choice
        done = [name for name in OPERATIONS if name in ALWAYS or source.random() < 0.5]
        weights = {name: source.choice((1.0, 3.0)) for name in done}
        registers, lists, locks, leases = pick((1, 2, 2)), pick((0, 1, 1)), pick((0, 1)), pick((0, 1))
        calls_per_s = pick(CALLS_PER_S)
        return Mix(
            weights=weights,
            pause_s=clients * (registers + lists + locks + leases) / calls_per_s,
            registers=registers,
            groups=pick((1, 2, 4)),
            group_keys=pick((1, 2, 3)),
            group_operations_max=pick((30, 60)),
            tells_versions=pick((True, False)),
            watchers=pick((0, 1, 1)),
            watch_life_s=pick((1.0, 4.0, 12.0)),
            lists=lists,
            locks=locks,
            leases=leases,
            compaction_s=pick((0.0, 0.0, 5.0)),
            timeout_s=pick((0.5, 1.0, 3.0)),
        )
