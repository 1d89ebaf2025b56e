"""Entries committed a second by three cores in one process, without disk or network: the price of the algorithm alone.

    python -m bench.raft_core [seconds per figure]

All three members' work runs on one core of the processor; each turn commits one batch at the leader and everywhere.
"""

import random
import sys
import time

from cluster.raft.core import MemoryLog, Raft, RaftConfig
from cluster.raft.core.types import Configuration, HardState, Role, SnapshotMeta

GROUP = (1, 2, 3)


class Node:
    def __init__(self, member: int, configuration: Configuration) -> None:
        self.log = MemoryLog(SnapshotMeta(0, 0, configuration))
        draw = random.Random(member)
        self.raft = Raft(RaftConfig(member), self.log, HardState(), configuration, 0, draw.randrange)
        self.applied = 0


def settle(nodes: dict[int, Node]) -> None:
    busy = True
    while busy:
        busy = False
        for node in nodes.values():
            raft = node.raft
            while raft.has_ready():
                busy = True
                ready = raft.ready()
                node.log.append(ready.entries)
                raft.persisted(ready)
                if ready.committed:
                    node.applied += len(ready.committed)
                    raft.applied(ready.committed[-1].index)
                for message in ready.messages:
                    nodes[message.target].raft.step(message)
                for message in ready.messages_after_persist:
                    nodes[message.target].raft.step(message)


def measure(batch: int, seconds: float) -> float:
    configuration = Configuration(frozenset(GROUP))
    nodes = {member: Node(member, configuration) for member in GROUP}
    nodes[1].raft.campaign()
    settle(nodes)
    assert nodes[1].raft.role is Role.LEADER
    commands = [b"x" * 100] * batch
    started, begin = nodes[3].applied, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        nodes[1].raft.propose(commands)
        settle(nodes)
    return (nodes[3].applied - started) / (time.perf_counter() - begin)


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    for size in (1, 16, 256):
        print(f"batch {size:4d}: {measure(size, duration):10,.0f} entries/s")
