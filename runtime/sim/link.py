"""One direction between two hosts: how long things take, and whether they pass."""

import math
import random

from runtime.sim.swarm import SwarmOptions

LOOPBACK_S = 0.00002
"""Latency from a host to itself."""
RETRANSMIT_S_MAX = 2.0
"""How late, at the most, what was lost in a cut goes on after it has healed: a retransmission timer must expire first.
Linux lets it grow to two minutes; the processes here tune it down, as clusters do."""


class Link:
    """What is sent on it is delayed, held back by a clog, or lost in a cut, in which case TCP sends it again."""

    __slots__ = ("_free_at_s", "_options", "_random", "clogged", "cut", "latency_factor", "loopback")

    def __init__(self, options: SwarmOptions, source: random.Random, *, loopback: bool) -> None:
        self._options = options
        self._random = source
        self._free_at_s = 0.0
        self.loopback = loopback
        self.cut = False
        """Everything is lost, handshakes included."""
        self.clogged = False
        """Everything is held back, and comes at once when the clog is gone."""
        self.latency_factor = 1.0
        """A slow link has more than 1."""

    @property
    def blocked(self) -> bool:
        """Whether nothing arrives at present."""
        return self.cut or self.clogged

    def arrival_s(self, now_s: float, size: int) -> float:
        """When a segment of `size` bytes that is sent now would arrive."""
        if self.loopback:
            return now_s + LOOPBACK_S
        options, source = self._options, self._random
        latency = options.latency_s * self.latency_factor
        if options.latency_sigma:
            latency *= math.exp(source.gauss(0.0, options.latency_sigma))
        if options.spike_probability and source.random() < options.spike_probability:
            latency += source.uniform(0.0, options.spike_s_max)
        self._free_at_s = max(self._free_at_s, now_s) + size / options.bandwidth_bytes_s
        return self._free_at_s + latency

    def retransmission_s(self, stalled_s: float) -> float:
        """How long after the end of a blockade a stalled stream goes on, when it was stalled for so long."""
        return self._random.uniform(0.0, min(RETRANSMIT_S_MAX, max(0.2, stalled_s)))
