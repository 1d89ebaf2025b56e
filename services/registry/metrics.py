"""What a registry process measures. Counting costs an addition; samples are made when somebody asks."""


class Counters:
    """What was counted since the start."""

    def __init__(self) -> None:
        self.beats = 0
        self.beats_failed = 0
        self.conflicts = 0
        """Plans that could not be done, since somebody else had changed the same."""
        self.unreadable = 0
        """Records read from kv that could not be understood."""
        self.updates = 0
        """Changes that kv told."""
        self.resets = 0
        """Times that the copy was read anew."""
        self.watchers = 0
        """Streams of changes that are open."""
        self.deltas = 0
        """Messages of changes that were encoded."""
        self.deltas_sent = 0
        """Messages of changes that were handed to watchers."""
        self.overflows = 0
        """Watchers that were too slow, and were given all anew."""
