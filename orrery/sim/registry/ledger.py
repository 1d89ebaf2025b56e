"""What the clients were told, and what must therefore be true: the registry's promises, written anew.

- A registration that was acknowledged is there until somebody tried to take it away.
- A removal that was acknowledged is final, unless a registration may still be under way.
- The index of what one process tells never falls, also across its restarts.
- Who beats passes, who does not beat becomes critical, once nothing is broken.
"""

from dataclasses import dataclass, field
from enum import Enum

from orrery.sim.setting import Contradiction


class Unlawful(Contradiction):
    """The registry did what it must not."""

    def __init__(self, text: str) -> None:
        super().__init__("audit", text)


class Must(Enum):
    """What must be true of an instance at the end."""

    BE_THERE = "be there"
    BE_GONE = "be gone"
    ANY = "be anything"


@dataclass(slots=True)
class Entry:
    """What is known of one instance."""

    service: str
    must: Must = Must.ANY
    in_doubt: bool = False
    """A call about it got no answer: it may take effect at any time."""
    beats: bool = True


@dataclass(slots=True)
class Ledger:
    """All instances by `(node, id)`, and the highest index that each process told of each topic."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    indexes: dict[tuple[str, str], int] = field(default_factory=dict)
    registrations: int = 0
    """Acknowledged ones."""
    removals: int = 0
    beats: int = 0
    answers: int = 0

    def registering(self, place: tuple[str, str], service: str) -> Entry:
        """Somebody is about to register it."""
        return self.entries.setdefault(place, Entry(service))

    def registered(self, entry: Entry) -> None:
        """That was acknowledged."""
        self.registrations += 1
        if not entry.in_doubt:
            entry.must = Must.BE_THERE

    def removed(self, entry: Entry) -> None:
        """A removal was acknowledged, or nothing was there to be removed."""
        self.removals += 1
        if not entry.in_doubt:
            entry.must = Must.BE_GONE

    def doubt(self, entry: Entry, *, removing: bool) -> None:
        """A call got no answer. A registration that is sent again until it is acknowledged leaves none, for it is the
        same; what a removal does can come late.
        """
        if removing or entry.must is not Must.BE_THERE:
            entry.must = Must.ANY
        if removing:
            entry.in_doubt = True

    def saw(self, process: str, topic: str, index: int) -> None:
        """A process told an index. Raises Unlawful when it is below one that it told before."""
        self.answers += 1
        highest = self.indexes.get((process, topic), 0)
        if index < highest:
            raise Unlawful(f"{process} told index {index} of {topic} after {highest}")
        self.indexes[process, topic] = index

    def check_places(self, places: set[tuple[str, str]]) -> None:
        """Compares with what is there at the end. Raises Unlawful."""
        for place, entry in self.entries.items():
            if entry.must is Must.BE_THERE and place not in places:
                raise Unlawful(f"the registration of {place} was acknowledged, and is lost")
            if entry.must is Must.BE_GONE and place in places:
                raise Unlawful(f"the removal of {place} was acknowledged, and it is there")
