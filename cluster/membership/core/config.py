"""What the core can be told, and which of its mechanisms a test may take away."""

from dataclasses import dataclass, field

from cluster.membership.core import limits


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What Lifeguard, and this implementation, add to SWIM. All are on; measurements switch them off one by one."""

    health_aware_probes: bool = True
    """LHA-Probe: a member that seems to be slow itself probes slower and waits longer (Lifeguard, section IV.A)."""
    shrinking_suspicion: bool = True
    """LHA-Suspicion: a suspicion lasts long at first, and shorter with each independent one (section IV.B). Off: it
    always lasts the minimum, as in SWIM."""
    buddy: bool = True
    """Whoever is suspected, or worse, hears of it with the next packet that goes to it (section IV.C)."""
    refutation: bool = True
    """Off: a member does not object to what is said of it. Breaks SWIM (section 4.2); shows that tests notice."""
    stream_probes: bool = True
    """A probe that nobody answered is tried by a stream, too, while the helpers try theirs."""
    gossip: bool = True
    """News travel in packets of their own, too. Off: only with pings and acks, as in SWIM."""

    @staticmethod
    def swim() -> "Mechanisms":
        """SWIM with suspicion, as in its paper's section 4, and nothing else."""
        return Mechanisms(
            health_aware_probes=False, shrinking_suspicion=False, buddy=False, stream_probes=False, gossip=False
        )

    @staticmethod
    def without_lifeguard() -> "Mechanisms":
        """All but the three extensions of Lifeguard: what its paper compares with."""
        return Mechanisms(health_aware_probes=False, shrinking_suspicion=False, buddy=False)


@dataclass(frozen=True, slots=True)
class SwimConfig:
    """Everything that a member can be told. Time is in ticks. Raises ValueError, naming the field, when one makes no
    sense. The defaults suit ticks of a tenth of a second on a local network.
    """

    probe_interval_ticks: int = 10
    """From one probe to the next: SWIM's protocol period."""
    probe_timeout_ticks: int = 5
    """How long a ping is waited for before helpers are asked. They have the rest of the interval."""
    nack_ticks: int = 4
    """When a helper tells that it has heard nothing yet. Below `probe_timeout_ticks`, so that it comes in time."""
    helpers: int = 3
    """Members that are asked to ping in this one's stead; SWIM's k."""
    gossip_ticks: int = 2
    """From one round of news to the next, while there are news."""
    gossip_fanout: int = 3
    """Members that hear the news in one round."""
    retransmit_factor: int = 4
    """Each piece of news is sent this many times the decimal logarithm of the number of members."""
    suspicion_factor: int = 4
    """Lifeguard's alpha: the shortest suspicion, in probe intervals times that logarithm."""
    suspicion_max_factor: int = 6
    """Lifeguard's beta: the longest suspicion, in shortest ones."""
    confirmations: int = 3
    """Lifeguard's K: independent suspicions that bring a suspicion down to the shortest."""
    health_max: int = 8
    """Lifeguard's S: the worst that a member may think of its own health; it then probes nine times as slowly."""
    sync_ticks: int = 300
    """From one state exchange to the next, in a cluster of up to 32; they get rarer as it grows."""
    reconnect_ticks: int = 100
    """How often a member looks whether one that failed, or a seed that is no member, is back."""
    reap_ticks: int = 864_000
    """How long one that failed or left is remembered: a day. Whoever is away for longer is found by its seeds."""
    challenge_ticks: int = 20
    """How long an older member of the same name has to show that it lives, before its name is taken over."""
    members_max: int = 5_000
    """Members that are kept, the remembered ones included; more are refused."""
    rumours_max: int = 4_096
    """News under way; above, the most told ones make room."""
    relays_max: int = 256
    """Pings under way in others' stead; above, a helper declines by a nack."""
    seeds_max: int = 64
    """Addresses that are asked when a member looks for its cluster."""
    packet_bytes_max: int = 1_360
    """A datagram, before it is sealed. With IPv6, UDP and the seal it fits an Ethernet frame."""
    metadata_bytes_max: int = 512
    """What a member may say of itself."""
    mechanisms: Mechanisms = field(default_factory=Mechanisms)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int) and value < 1 and name not in ("helpers", "confirmations", "health_max"):
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name in ("helpers", "confirmations", "health_max"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.probe_timeout_ticks >= self.probe_interval_ticks:
            raise ValueError("probe_timeout_ticks must be below probe_interval_ticks, or helpers have no time")
        if self.helpers and self.nack_ticks >= self.probe_interval_ticks - self.probe_timeout_ticks:
            raise ValueError("nack_ticks must be below the time that helpers have")
        if self.metadata_bytes_max > limits.METADATA_BYTES_MAX:
            raise ValueError(f"metadata_bytes_max must be at most {limits.METADATA_BYTES_MAX}")
        if not limits.PACKET_BYTES_MIN <= self.packet_bytes_max <= limits.PACKET_BYTES_MAX:
            raise ValueError(
                f"packet_bytes_max must be in [{limits.PACKET_BYTES_MIN}, {limits.PACKET_BYTES_MAX}]: one update must"
                " always fit"
            )
        if self.members_max > limits.RECORDS_MAX:
            raise ValueError(f"members_max must be at most {limits.RECORDS_MAX}")
