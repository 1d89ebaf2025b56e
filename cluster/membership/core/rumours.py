"""The news that a member still has to tell (SWIM, section 4.1).

Invariants:
- At most one piece of news a name: a newer one replaces an older one and starts from nothing.
- Those that were told least often go first, and among them the newest: a fresh death outruns old gossip.
- Each is told `retransmit_factor * ceil(log10(members + 1))` times, then forgotten; the number is the caller's.
- At most `rumours_max`: above, the most told ones are dropped, which state exchanges make good later.

put O(1); take O(what it returns + number of distinct counts).
"""

from collections.abc import Iterator


class Rumours:
    """News by name, in buckets by how often they were told."""

    __slots__ = ("_buckets", "_count", "_max", "_places")

    def __init__(self, count_max: int) -> None:
        self._max = count_max
        self._count = 0
        self._buckets: list[dict[str, bytes]] = [{}]
        """Index: how often told. Each in the order in which they came."""
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def put(self, name: str, encoded: bytes) -> bool:
        """Has something new to tell of a name. Returns False when something else had to make room."""
        place = self._places.pop(name, None)
        if place is not None:
            del self._buckets[place][name]
            self._count -= 1
        fits = self._count < self._max
        if not fits:
            self._drop_most_told()
        self._buckets[0][name] = encoded
        self._places[name] = 0
        self._count += 1
        return fits

    def discard(self, name: str) -> None:
        """Has nothing to tell of a name any more."""
        place = self._places.pop(name, None)
        if place is not None:
            del self._buckets[place][name]
            self._count -= 1

    def take(self, bytes_max: int, times_max: int, *, but: str = "") -> list[bytes]:
        """What fits into a packet, counted as told once. `but` is left out: the packet has it already."""
        if not self._count:
            return []
        chosen = list(self._choose(bytes_max, but))
        pieces = []
        for place, name, encoded in chosen:
            pieces.append(encoded)
            del self._buckets[place][name]
            if place + 1 >= times_max:
                del self._places[name]
                self._count -= 1
                continue
            if place + 1 == len(self._buckets):
                self._buckets.append({})
            self._buckets[place + 1][name] = encoded
            self._places[name] = place + 1
        return pieces

    def _choose(self, bytes_max: int, but: str) -> Iterator[tuple[int, str, bytes]]:
        room = bytes_max
        smallest = 8  # bytes: no update is shorter, so a fuller packet needs no further look
        for place, bucket in enumerate(self._buckets):
            for name in reversed(bucket):
                encoded = bucket[name]
                if len(encoded) <= room and name != but:
                    room -= len(encoded)
                    yield place, name, encoded
                if room < smallest:
                    return

    def _drop_most_told(self) -> None:
        for bucket in reversed(self._buckets):
            if bucket:
                name = next(iter(bucket))
                del bucket[name]
                del self._places[name]
                self._count -= 1
                return
