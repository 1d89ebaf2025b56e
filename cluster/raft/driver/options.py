"""What a host can be told."""

from dataclasses import dataclass, field

from cluster.raft.core import Safeguards


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Settings of a host and of every group on it. Raises ValueError, naming the field, when one makes no sense."""

    tick_s: float | None = 0.1
    """Length of a tick, in seconds. None: ticks come only from `RaftHost.tick`, for tests."""
    heartbeat_ticks: int = 1
    """Ticks between a leader's heartbeats."""
    election_ticks: int = 8
    """Ticks without a leader before a member stands for election; the real number is drawn from [n, 2n)."""
    ticks_per_turn_max: int = 2
    """Ticks that one turn may make up for. After a stall of the event loop the messages that waited in the sockets
    are heard before the clock runs on, so a healthy leader is not deposed by its own late tick."""
    inbox_bytes_max: int = 256 << 20
    """Data of messages that wait for the next turn; more is dropped, which Raft tolerates."""
    hold_back_s: float = 0.005
    """How long a leader may keep entries, and that they are committed, from members that it does not need for a quorum
    and whose callers do not wait; see driver.holding_back. So much longer may a write take in which a member that is
    needed has just failed. 0: everything is sent at once."""
    snapshot_log_bytes: int = 64 << 20
    """A snapshot is taken when this much was applied since the last one..."""
    snapshot_size_factor: float = 2.0
    """...or this many times the size of the last snapshot, whichever is more: writing it again costs that much."""
    trailing_entries: int = 5_000
    """Entries kept behind a snapshot, so that a member that was away shortly needs none."""
    readies_per_turn_max: int = 8
    """Readys taken from one group in one turn; what remains waits for the next turn."""
    entries_bytes_per_message_max: int = 1 << 20
    """Data in one APPEND."""
    inflight_bytes_max: int = 64 << 20
    """Unacknowledged data on its way to one member."""
    uncommitted_bytes_max: int = 128 << 20
    """Data that a leader took and that is not applied yet."""
    pin_bytes_max: int = 64 << 20
    """A group that has applied nothing for long holds back the log's old segments. Once the others have written this
    much since, what it needs is written anew at the log's end."""
    wal_segment_bytes: int = 64 << 20
    """Size at which the log goes on in a new file; only whole files are ever dropped."""
    wal_pending_bytes_max: int = 1 << 30
    """What may wait for the disk, of all groups together. The groups' own limits should keep it far below; a disk so
    slow that it is reached ends the host."""
    safeguards: Safeguards = field(default_factory=Safeguards)
    """For the simulator; see there."""

    def __post_init__(self) -> None:
        if self.tick_s is not None and self.tick_s <= 0:
            raise ValueError(f"tick_s must be positive, not {self.tick_s}")
        for name in ("ticks_per_turn_max", "inbox_bytes_max", "snapshot_log_bytes", "wal_segment_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.hold_back_s < 0:
            raise ValueError(f"hold_back_s must not be negative, not {self.hold_back_s}")
        if self.readies_per_turn_max < 1:
            raise ValueError(f"readies_per_turn_max must be at least 1, not {self.readies_per_turn_max}")
        if self.trailing_entries < 0:
            raise ValueError(f"trailing_entries must not be negative, not {self.trailing_entries}")
