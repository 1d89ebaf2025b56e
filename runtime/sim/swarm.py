"""How bad the world of a seed is. Drawn anew for each seed, so that runs differ in kind and not only in luck.

A world in which everything goes wrong a little finds fewer bugs than many worlds in which a few things go very wrong
(Groce et al., "Swarm Testing", ISSTA 2012): many options are at their calm end in many seeds.
"""

import random
from dataclasses import dataclass

from runtime.sim.scheduler import Schedule


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """The constants of one world. The defaults are calm."""

    schedule: Schedule = Schedule.FIFO
    """How the next of several ready lanes is chosen."""
    latency_s: float = 0.0005
    """Median time that a segment travels one way."""
    latency_sigma: float = 0.2
    """Spread of the latency: the standard deviation of its logarithm."""
    spike_probability: float = 0.0
    """How often a segment is late, as after a loss that TCP repairs."""
    spike_s_max: float = 0.2
    """How late, at the most."""
    bandwidth_bytes_s: float = 125e6
    """Bytes a second that one direction between two hosts carries."""
    window_bytes: int = 256 << 10
    """Bytes of a connection that may be sent and not yet read by the other side."""
    split_probability: float = 0.0
    """How often a read gives only a part of what has arrived."""
    connect_timeout_s: float = 20.0
    """How long a connection is tried when nothing answers."""
    user_timeout_s: float = 30.0
    """How long sent bytes may stay unacknowledged before the connection breaks (TCP_USER_TIMEOUT)."""
    refuse_probability: float = 0.5
    """Whether a host without power has a router that refuses for it, or stays silent; decided at each crash."""
    clock_offset_s_max: float = 0.0
    """How far a host's wall clock may be off at the start."""
    clock_drift_max: float = 0.0
    """How much faster or slower a host's clocks may run, as a fraction."""
    disk_latency_s: float = 0.00005
    """Mean time of a read or a write."""
    sync_latency_s: float = 0.0005
    """Mean time of a sync, above that."""
    buggify_site_probability: float = 0.0
    """How likely a site of `runtime.buggify` is active in this world."""
    buggify_fire_probability: float = 0.05
    """How likely an active site fires when it is passed."""
    datagram_loss_probability: float = 0.0
    """How likely an IP packet of a datagram is lost, and the datagram with it. Loopback loses nothing."""
    datagram_double_probability: float = 0.0
    """How likely a datagram comes twice."""
    datagram_late_probability: float = 0.0
    """How likely a datagram is late, by up to `spike_s_max`, so that later ones overtake it."""
    mtu_bytes: int = 1_500
    """What one IP packet carries, headers included; a larger datagram is cut, and lost with any of its parts."""

    @staticmethod
    def draw(source: random.Random) -> "SwarmOptions":
        """The options of one seed."""
        pick, uniform = source.choice, source.uniform
        return SwarmOptions(
            schedule=pick((Schedule.FIFO, Schedule.RANDOM, Schedule.PRIORITY)),
            latency_s=pick((0.0001, 0.0005, 0.002, 0.02)),
            latency_sigma=pick((0.0, 0.2, 1.0)),
            spike_probability=pick((0.0, 0.0, 0.001, 0.02)),
            spike_s_max=pick((0.05, 0.2, 1.0)),
            bandwidth_bytes_s=pick((125e6, 125e6, 10e6, 1e6)),
            window_bytes=pick((4 << 10, 64 << 10, 256 << 10, 4 << 20)),
            split_probability=pick((0.0, 0.0, 0.1, 0.9)),
            connect_timeout_s=pick((3.0, 20.0, 127.0)),
            user_timeout_s=pick((5.0, 30.0, 900.0)),
            refuse_probability=pick((0.0, 0.5, 1.0)),
            clock_offset_s_max=pick((0.0, 0.5, 100.0)),
            clock_drift_max=pick((0.0, 0.0001, 0.01)),
            disk_latency_s=pick((0.00002, 0.0001, 0.002)),
            sync_latency_s=pick((0.0001, 0.001, uniform(0.001, 0.03))),
            buggify_site_probability=pick((0.0, 0.25)),
            buggify_fire_probability=pick((0.01, 0.1)),
            # New options are drawn behind the old ones, so that a seed's world stays what it was.
            datagram_loss_probability=pick((0.0, 0.0, 0.01, 0.1)),
            datagram_double_probability=pick((0.0, 0.0, 0.02)),
            datagram_late_probability=pick((0.0, 0.0, 0.02)),
        )
