"""One watcher: what it is interested in, and the events that wait for it."""

from enum import Enum
from typing import NamedTuple


class Interest(NamedTuple):
    """What a client asked to see."""

    low: bytes
    high: bytes | None
    """Exclusive; None is behind every key."""
    start_revision: int = 0
    wants_puts: bool = True
    wants_deletes: bool = True
    wants_previous: bool = False
    may_fragment: bool = False
    wants_progress: bool = False


class Sync(Enum):
    """Where a watcher gets its events from."""

    LIVE = "live"
    """From the hub, as they happen."""
    BEHIND = "behind"
    """From the store, until it has caught up."""
    CLOSED = "closed"


class Watcher:
    """The state of one watcher. Its stream and the hub change it; nothing here waits."""

    __slots__ = ("id", "interest", "is_quiet", "next_revision", "pending", "pending_bytes", "stream", "sync")

    def __init__(self, watch_id: int, interest: Interest, stream: "Waker") -> None:
        self.id = watch_id
        self.interest = interest
        self.stream = stream
        self.sync = Sync.BEHIND
        self.next_revision = interest.start_revision
        """The first revision whose events its stream has not taken yet."""
        self.pending: list[bytes] = []
        """Serialized events from `next_revision` on that wait for the stream to take them; only when live."""
        self.pending_bytes = 0
        self.is_quiet = True
        """No events since the last notification of progress."""

    def wants(self, key: bytes, *, is_delete: bool) -> bool:
        """Whether an event is of interest, whatever its revision."""
        interest = self.interest
        return (
            interest.low <= key
            and (interest.high is None or key < interest.high)
            and (interest.wants_deletes if is_delete else interest.wants_puts)
        )

    def drop_pending(self) -> None:
        """Forgets what waits, because it will be read from the store again."""
        self.pending = []
        self.pending_bytes = 0


class Waker:
    """Who is told that a watcher has something to deliver."""

    def wake(self, watcher: Watcher) -> None:
        """Called on the event loop; must not wait."""
        raise NotImplementedError
