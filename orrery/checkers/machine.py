"""What the linearizability judge must know of an object: its states, its steps, and how to say them in words.

A history is cut into problems that can be judged alone: linearizability is local (Herlihy and Wing, "Linearizability: a
correctness condition for concurrent objects", TOPLAS 1990, theorem 1), so each key is a problem of its own.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from orrery.checkers.history import Operation

State: TypeAlias = Hashable
Call: TypeAlias = tuple[Hashable, ...]
"""An operation in the model's terms, its result included. Equal calls are interchangeable, and steps are cached."""

ANYTHING = "\0anything"
"""Observed by calls that may depend on any write, such as a comparison that failed."""


class ModelMismatch(ValueError):
    """The history is well formed, but this model cannot read it: wrong operation or wrong value."""

    def __init__(self, operation: Operation, problem: str) -> None:
        super().__init__(f"{operation.lines}: {operation.f}: {problem}")


class Machine(Protocol):
    """A deterministic object, or one whose unknown results leave a few possible states."""

    def initial(self) -> State:
        """The state before the first operation."""
        ...

    def step(self, state: State, call: Call) -> Sequence[State]:
        """The states in which the call, with the result it had, can leave the object; none when it cannot be."""
        ...

    def observes(self, call: Call) -> Iterable[str]:
        """What the call must find written to be possible; ANYTHING when that cannot be said."""
        ...

    def writes(self, call: Call) -> str | None:
        """What the call may write; None when it never changes the state."""
        ...

    def describe(self, call: Call) -> str:
        """The call in words: `write 3`."""
        ...

    def describe_state(self, state: State) -> str:
        """The state in words: `3`."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """An operation that takes part in a problem."""

    operation: Operation
    call: Call
    pending: bool
    """Whether it may take effect any time after its invocation, or never."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Operations that must have one order."""

    name: str
    """Such as `key "a"`."""
    items: tuple[Item, ...]
    machine: Machine


def removable(items: Sequence[Item], machine: Machine) -> list[int]:
    """Places of items without which the rest is at least as easy to order.

    So a rest that has no order proves that the whole has none, and a pending item among them need not be tried.
    - A call that never changes the state can be struck out of any order.
    - A call that writes what nothing else observes can, too: between it and the next write stand only calls that
      do not look. An `ok` comparison counts, since to strike it out is to take it for pending, which only allows more.
    """
    observed: Counter[str] = Counter()
    for item in items:
        observed.update(set(machine.observes(item.call)))
    blind = not observed[ANYTHING]
    places = []
    for place, item in enumerate(items):
        written = machine.writes(item.call)
        own = written is not None and written in set(machine.observes(item.call))
        if written is None or (blind and observed[written] == int(own)):
            places.append(place)
    return places


def without_useless(problem: Problem) -> Problem:
    """The problem without pending items that no order needs. Striking one out may make another useless."""
    items = list(problem.items)
    while True:
        useless = {place for place in removable(items, problem.machine) if items[place].pending}
        if not useless:
            return Problem(problem.name, tuple(items), problem.machine)
        items = [item for place, item in enumerate(items) if place not in useless]
