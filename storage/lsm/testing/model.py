"""What an engine with the append operator should hold, as a dict."""


class Model:
    """Values, and when they are gone. Applies the operations of an engine in the plainest way."""

    def __init__(self, values: dict[bytes, tuple[bytes, int | None]] | None = None) -> None:
        self._values = dict(values or {})

    def copy(self) -> "Model":
        """The content as of now. O(n)."""
        return Model(self._values)

    def put(self, key: bytes, value: bytes, expires_ms: int | None = None) -> None:
        """Sets a value."""
        self._values[key] = (value, expires_ms)

    def delete(self, key: bytes) -> None:
        """Removes a key."""
        self._values.pop(key, None)

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes low <= key < high."""
        for key in [key for key in self._values if low <= key < high]:
            del self._values[key]

    def merge(self, key: bytes, operand: bytes, now_ms: int) -> None:
        """Appends; a value that expires goes on to expire."""
        value, expires_ms = self._values.get(key, (b"", None))
        if expires_ms is not None and expires_ms <= now_ms:
            value, expires_ms = b"", None
        self._values[key] = (value + operand, expires_ms)

    def visible(self, now_ms: int) -> dict[bytes, bytes]:
        """What a reader sees. O(n)."""
        return {
            key: value for key, (value, expires_ms) in self._values.items() if expires_ms is None or expires_ms > now_ms
        }

    def get(self, key: bytes, now_ms: int) -> bytes | None:
        """One value."""
        value, expires_ms = self._values.get(key, (None, None))
        return value if expires_ms is None or expires_ms > now_ms else None

    def keys(self) -> list[bytes]:
        """All keys, those that have expired too."""
        return list(self._values)
