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

    __slots__ = (
        "_free_at_s",
        "_options",
        "_random",
        "clogged",
        "cut",
        "latency_factor",
        "loopback",
        "loss_probability",
    )

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
        self.loss_probability = options.datagram_loss_probability
        """The share of IP packets that are lost. Streams repair that by themselves, see `spike_probability`; datagrams
        feel it."""

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

    def loses(self, size: int) -> bool:
        """Whether a datagram of `size` bytes, headers included, is lost, as it is with any of its packets."""
        probability = self.loss_probability
        if self.loopback or not probability:
            return False
        packets = -(-size // self._options.mtu_bytes)
        return self._random.random() >= (1.0 - probability) ** packets

    def doubles(self) -> bool:
        """Whether a datagram comes twice."""
        probability = self._options.datagram_double_probability
        return not self.loopback and probability > 0 and self._random.random() < probability

    def datagram_arrival_s(self, now_s: float, size: int) -> float:
        """When a datagram that is sent now would arrive; others may overtake it."""
        due_s = self.arrival_s(now_s, size)
        probability = self._options.datagram_late_probability
        if not self.loopback and probability and self._random.random() < probability:
            due_s += self._random.uniform(0.0, self._options.spike_s_max)
        return due_s

    def retransmission_s(self, stalled_s: float) -> float:
        """How long after the end of a blockade a stalled stream goes on, when it was stalled for so long."""
        return self._random.uniform(0.0, min(RETRANSMIT_S_MAX, max(0.2, stalled_s)))
