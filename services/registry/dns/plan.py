"""An answer that is ready but for its order: what the catalogue says about a name and a type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from services.registry.dns.codes import RCODE_NOERROR, RCODE_NXDOMAIN, RCODE_REFUSED
from services.registry.interface import Topic


@dataclass(slots=True)
class Choice:
    """One record of an answer, and what goes with it. Never changed; not frozen, since making ten thousand frozen ones
    takes a large service's answer three times as long.
    """

    record: bytes
    """On the wire. Its only pointers are to the question, so it can stand anywhere."""
    weight: int = 1
    """Its share of the first places."""
    target_at: int = 0
    """Where in `record` the name begins that owns the records below."""
    following: tuple[bytes, ...] = ()
    """Tails of records that belong to the answer, too: those of an alias's target."""
    additional: tuple[bytes, ...] = ()
    """Tails of records that spare the client a question."""
    is_alias: bool = False
    """A CNAME: it stands alone (RFC 2181, section 10.1)."""


K = TypeVar("K")


class Choices(Sequence[Choice]):
    """Choices that are made when they are chosen: an answer over UDP has some dozens at most, a service may have ten
    thousand instances.
    """

    __slots__ = ("_made", "_make", "weights")

    def __init__(self, weights: Mapping[K, int], make: Callable[[K, int], Choice]) -> None:
        """`weights` has what tells the choices apart, in order; `make(key, weight)` makes one."""
        keys = list(weights)
        self.weights: Sequence[int] = list(weights.values())
        self._make: Callable[[int], Choice] = lambda place: make(keys[place], self.weights[place])
        self._made: list[Choice | None] = [None] * len(keys)

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, place: int) -> Choice: ...

    @overload
    def __getitem__(self, place: slice) -> list[Choice]: ...

    def __getitem__(self, place: int | slice) -> Choice | list[Choice]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        choice = self._made[place]
        if choice is None:
            choice = self._made[place] = self._make(place)
        return choice


Dependencies = tuple[tuple[Topic, int], ...]
"""The plan holds as long as these topics have these indexes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is answered."""

    rcode: int
    choices: Sequence[Choice] = ()
    """None: the SOA is sent, for the rcode's or the emptiness's caching (RFC 2308)."""
    is_authoritative: bool = True
    may_be_partial: bool = False
    """Whether some of the choices do as well as all: instances of a service."""
    has_aliases: bool = False
    weights: Sequence[int] = ()
    """The weights added up, choice by choice, where they differ; empty where all are the same."""
    dependencies: Dependencies = ()
    folding: int = 0
    """The generation of `Folding` that it was made with."""
    is_kept: bool = False
    """Whether it is worth keeping: only what exists, of which there is an end."""


NAME_ERROR = Plan(RCODE_NXDOMAIN)
REFUSAL = Plan(RCODE_REFUSED, is_authoritative=False)
EMPTY = Plan(RCODE_NOERROR)
