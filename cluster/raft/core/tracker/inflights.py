"""A window of unacknowledged APPENDs to one follower."""

from collections import deque


class Inflights:
    """Last index and bytes of each APPEND under way, oldest first; limited by count and by bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_messages_max", "_window")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._window: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def add(self, last_index: int, size_bytes: int) -> None:
        """Notes a message that was sent. The window must not be full."""
        assert not self.full, "a full window takes no more messages"
        self._window.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_through(self, index: int) -> None:
        """The follower holds everything up to `index`: messages that end there or before are no longer under way."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]

    def reset(self) -> None:
        """Forgets all: the messages are taken for lost."""
        self._window.clear()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether another message must wait. The last one let in may overshoot the bytes."""
        return len(self._window) >= self._messages_max or self._bytes >= self._bytes_max

    def __len__(self) -> int:
        return len(self._window)

    @property
    def size_bytes(self) -> int:
        """Data under way."""
        return self._bytes
