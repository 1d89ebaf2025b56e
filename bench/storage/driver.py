"""What the benchmark asks of an engine. Imports neither the product nor a peer: each has its own environment."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

Pairs = list[tuple[bytes, bytes]]


class Driver(Protocol):
    """One engine in one directory."""

    put: Callable[[bytes, bytes], object]
    get: Callable[[bytes], bytes | None]
    synced: bool
    """Whether it is measured with synced puts."""

    async def open(self, directory: str) -> None: ...

    async def write(self, pairs: Pairs) -> None:
        """One batch."""
        ...

    async def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The engine's own best way to take pairs in ascending order."""
        ...

    async def throttle(self) -> None:
        """What a writer calls between its writes; nothing where the engine stops writers by itself."""
        ...

    async def flush(self) -> None:
        """Returns when everything is durable."""
        ...

    async def settle(self) -> None:
        """Returns when no background work is left, so that the bytes written are all there."""
        ...

    def written(self) -> int | None:
        """Bytes of data that it has written since it was opened, by its own count; None when it does not count.

        The kernel's count is of what was dirtied in the page cache, and a small write may dirty a large folio.
        """
        ...

    def scan(self, low: bytes | None) -> Iterator[tuple[bytes, bytes]]: ...

    async def synced_puts(self, writers: int, pairs: Pairs) -> None:
        """Puts by so many concurrent writers, each waiting until its own is durable before its next."""
        ...

    async def close(self) -> None: ...
