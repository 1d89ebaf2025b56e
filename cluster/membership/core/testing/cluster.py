"""A cluster of cores, each with its own beat, on a network that loses, doubles, delays and parts.

Much lighter than `runtime.sim`: no tasks, no transports, no clocks; a heap of what happens when. A thousand members run
here. Time is in ticks, as floats. Everything is drawn from the one source that is handed in.

A slow member's timers run, while its messages, both ways, wait: what the authors of Lifeguard did to theirs (section
V.A).
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from cluster.membership.core.config import SwimConfig
from cluster.membership.core.swim import Swim
from cluster.membership.core.types import Address, EventKind, StreamCall, Update
from runtime.randomness import Randomness

PORT = 7946
HELD_MAX = 1_000
"""Messages that wait for a slow member in each direction; more are lost, as its kernel would lose them."""
STREAM_STEPS_MAX = 4
"""Messages of one conversation."""


class Heard(NamedTuple):
    """An event of one core."""

    tick: float
    listener: str
    kind: EventKind
    subject: str


@dataclass(slots=True)
class Weather:
    """What the network does to datagrams."""

    loss: float = 0.0
    double: float = 0.0
    latency_ticks: float = 0.005
    """One way, on average; each takes between half of it and one and a half."""
    late: float = 0.0
    """The share of datagrams that take up to `late_ticks` longer."""
    late_ticks: float = 10.0


@dataclass(slots=True)
class Node:
    """One member: its core, and what it sent and received."""

    name: str
    address: Address
    swim: Swim
    running: bool = True
    slow: bool = False
    life: int = 0
    """Counts restarts; what was set for an earlier life does nothing."""
    inbox: deque[tuple[bytes, Address]] = field(default_factory=deque)
    outbox: deque[Callable[[], None]] = field(default_factory=deque)
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    streams: int = 0
    stream_bytes: int = 0


class Cluster:
    """Members by name. `run` lets time pass."""

    def __init__(self, randomness: Randomness, weather: Weather | None = None, *, overhead_bytes: int = 0) -> None:
        self.random = randomness
        self.weather = weather or Weather()
        self.now = 0.0
        self.nodes: dict[str, Node] = {}
        self.heard: list[Heard] = []
        self.cuts: set[tuple[str, str]] = set()
        """(source, target): what is lost on its way."""
        self.kinds: Counter[int] = Counter()
        """Datagrams sent, by the number of their kind on the wire."""
        self._overhead_bytes = overhead_bytes
        self._by_address: dict[Address, Node] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._instances = 0

    # Members

    def add(self, name: str, config: SwimConfig, *, metadata: bytes = b"", address: Address | None = None) -> Node:
        """A new member, which knows nobody."""
        number = len(self.nodes) + 1
        address = address or Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)
        node = Node(name, address, self._swim(name, config, address, metadata))
        self.nodes[name] = node
        self._by_address[address] = node
        self._beat(node, node.life)
        return node

    def introduce_all(self) -> None:
        """Lets everybody know everybody at once, as if they had long been together."""
        updates = [
            Update(node.name, node.swim.own.status, node.swim.own.incarnation, node.swim.own.details)
            for node in self.nodes.values()
        ]
        for node in self.nodes.values():
            roster = node.swim._core.roster
            for update in updates:
                if update.details is not None and update.name != node.name:
                    roster.insert(update, update.details, 0)
            node.swim._core.rumours.discard(node.name)
            node.swim.take_output()

    def stop(self, name: str) -> None:
        """Ends a member without a word."""
        node = self.nodes[name]
        node.running = node.slow = False
        node.life += 1
        node.inbox.clear()
        node.outbox.clear()

    def restart(self, name: str, config: SwimConfig, seeds: Iterable[str] = (), *, metadata: bytes = b"") -> None:
        """A new life of a member, which knows nobody but its seeds."""
        node = self.nodes[name]
        if node.running:
            self.stop(name)
        node.swim = self._swim(name, config, node.address, metadata)
        node.running = True
        self._beat(node, node.life)
        node.swim.join([self.nodes[seed].address for seed in seeds])
        self.flush(node)

    def join(self, name: str, *seeds: str) -> None:
        """Lets a member look for the others."""
        node = self.nodes[name]
        node.swim.join([self.nodes[seed].address for seed in seeds])
        self.flush(node)

    def set_slow(self, name: str, slow: bool) -> None:
        """Holds a member's messages back, or lets them go at once."""
        node = self.nodes[name]
        if not node.running or node.slow == slow:
            return
        node.slow = slow
        if not slow:
            while node.outbox and not node.slow:
                node.outbox.popleft()()
            while node.inbox and not node.slow:
                self._receive(node, *node.inbox.popleft())

    # Network

    def partition(self, *sides: Iterable[str]) -> None:
        """Cuts all links between members of different sides."""
        groups = [list(side) for side in sides]
        for number, side in enumerate(groups):
            for other in groups[number + 1 :]:
                for a in side:
                    for b in other:
                        self.cuts |= {(a, b), (b, a)}

    def heal(self) -> None:
        """All links carry again."""
        self.cuts.clear()

    # Time

    def run(self, ticks: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass, or less of it when `until` comes true, which is looked at once a tick. Returns `until()`."""
        end, look = self.now + ticks, self.now + 1
        agenda = self._agenda
        while agenda and agenda[0][0] <= end:
            at, _, action = heapq.heappop(agenda)
            self.now = at
            action()
            if until is not None and at >= look:
                look = at + 1
                if until():
                    return True
        self.now = end
        return until is not None and until()

    def at(self, tick: float, action: Callable[[], None]) -> None:
        """Does something then."""
        self._order += 1
        heapq.heappush(self._agenda, (tick, self._order, action))

    # What is believed

    def running(self) -> list[Node]:
        """Members that run."""
        return [node for node in self.nodes.values() if node.running]

    def agreed(self) -> bool:
        """Whether all that run believe the same members to be there, namely those that run, and suspect none."""
        running = self.running()
        names = {node.name for node in running}
        digests = {node.swim.digest for node in running}
        if len(digests) > 1 or any(node.swim.suspects for node in running):
            return False
        return {member.name for member in running[0].swim.members()} == names if running else True

    # Inside

    def _swim(self, name: str, config: SwimConfig, address: Address, metadata: bytes) -> Swim:
        self._instances += 1
        return Swim(config, name, self._instances, address, metadata, self.random.integer)

    def _beat(self, node: Node, life: int) -> None:
        phase = self.random.random()

        def beat() -> None:
            if node.life != life:
                return
            node.swim.tick()
            self.flush(node)
            self.at(self.now + 1, beat)

        self.at(self.now + phase, beat)

    def flush(self, node: Node) -> None:
        """Takes what a core has to do, and does it."""
        output = node.swim.take_output()
        for kind, member in output.events:
            self.heard.append(Heard(self.now, node.name, kind, member.name))
        for target, data in output.datagrams:
            node.sent += 1
            node.sent_bytes += len(data) + self._overhead_bytes
            self.kinds[data[0]] += 1
            self._out(node, partial(self._send, node, target, data))
        for call in output.streams:
            node.streams += 1
            self._out(node, partial(self._stream, node, call))

    def _out(self, node: Node, action: Callable[[], None]) -> None:
        if not node.slow:
            action()
        elif len(node.outbox) < HELD_MAX:
            node.outbox.append(action)

    def _latency(self) -> float:
        return self.weather.latency_ticks * (0.5 + self.random.random())

    def _send(self, source: Node, target: Address, data: bytes) -> None:
        there, weather, random = self._by_address.get(target), self.weather, self.random
        if there is None or (weather.loss and random.random() < weather.loss):
            return
        copies = 2 if weather.double and random.random() < weather.double else 1
        for _ in range(copies):
            due = self.now + self._latency()
            if weather.late and random.random() < weather.late:
                due += random.random() * weather.late_ticks
            self.at(due, partial(self._arrive, source, there, data))

    def _arrive(self, source: Node, there: Node, data: bytes) -> None:
        if not there.running or (self.cuts and (source.name, there.name) in self.cuts):
            return
        if there.slow:
            if len(there.inbox) < HELD_MAX:
                there.inbox.append((data, source.address))
            return
        self._receive(there, data, source.address)

    def _receive(self, node: Node, data: bytes, source: Address) -> None:
        node.received += 1
        node.received_bytes += len(data) + self._overhead_bytes
        node.swim.datagram(data, source)
        self.flush(node)

    def _stream(self, source: Node, call: StreamCall) -> None:
        there = self._by_address.get(call.target)
        if there is not None:
            # The handshake takes one way there and one back.
            due = self.now + 3 * self._latency()
            self.at(due, lambda: self._stream_step(source, there, call.data, STREAM_STEPS_MAX))

    def _stream_step(self, source: Node, there: Node, data: bytes, steps: int) -> None:
        pair = {(source.name, there.name), (there.name, source.name)}
        if not steps or not there.running or not source.running or pair & self.cuts:
            return
        if there.slow or source.slow:
            self.at(self.now + 1, lambda: self._stream_step(source, there, data, steps))
            return
        source.stream_bytes += len(data) + self._overhead_bytes
        answer = there.swim.stream_message(data)
        self.flush(there)
        if answer is not None:
            self.at(self.now + self._latency(), lambda: self._stream_step(there, source, answer, steps - 1))
