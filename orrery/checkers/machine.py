"""What the linearizability judge must know of an object: its states, its steps, and how to say them in words.

A history is cut into problems that can be judged alone: linearizability is local (Herlihy and Wing, "Linearizability: a
correctness condition for concurrent objects", TOPLAS 1990, theorem 1), so each key is a problem of its own.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from orrery.checkers.history import NEVER, Operation

State: TypeAlias = Hashable
Call: TypeAlias = tuple[Hashable, ...]
"""An operation in the model's terms, its result included. Equal calls are interchangeable, and steps are cached."""

Token: TypeAlias = tuple[int, str]
"""A part of the state (the key's place) and a value that it may hold."""
ANYTHING: Token = (-1, "")
"""Observed by calls that may depend on any write (a comparison that failed), written by those never struck out."""


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

    def observes(self, call: Call) -> Iterable[Token]:
        """What the call must find written to be possible; ANYTHING when that cannot be said."""
        ...

    def writes(self, call: Call) -> Token | None:
        """What the call may write; None when it never changes the state.

        ANYTHING when it writes several things, or something that outlives the next write, such as a version.
        """
        ...

    def relaxations(self, items: Sequence["Item"]) -> "Sequence[tuple[tuple[Item, ...], Machine]]":
        """The same items with less of their answers looked at, the least first. Each is at least as easy to order."""
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
    """Places of items without which, together, the rest is at least as easy to order.

    So a rest that has no order proves that the whole has none, and a pending item among them need not be tried.
    - A call that never changes the state can be struck out of any order.
    - A call whose write nobody sees can, too. Nobody sees it when each call that observes the same value was over
      before it began, or began after another answered write that came in between was over. An `ok` comparison counts:
      to strike it out is to take it for pending first, which only allows more.

    Of the writes of a value that some call observes the newest is kept all the same: what is left must explain itself.
    """
    observers: dict[Token, list[Item]] = defaultdict(list)
    writers: dict[int, list[Item]] = defaultdict(list)
    newest: dict[Token, int] = {}
    for item in items:
        for token in set(machine.observes(item.call)):
            observers[token].append(item)
        written = machine.writes(item.call)
        if written is not None and written != ANYTHING:
            newest[written] = max(newest.get(written, 0), item.operation.invoked)
            if not item.pending:
                writers[written[0]].append(item)
    barriers = {cell: _Barriers(members) for cell, members in writers.items()}
    places = []
    for place, item in enumerate(items):
        written = machine.writes(item.call)
        if written == ANYTHING:
            continue
        if written is not None:
            others = [other for token in (written, ANYTHING) for other in observers[token] if other is not item]
            if others and newest[written] == item.operation.invoked and not item.pending:
                continue
            began, over = item.operation.invoked, NEVER if item.pending else item.operation.completed
            barrier = barriers[written[0]].after(over) if written[0] in barriers else NEVER
            if any(_may_follow(other, began, barrier) for other in others):
                continue
        places.append(place)
    return places


def _may_follow(item: Item, began: int, barrier: int) -> bool:
    """Whether it can stand right behind a write that began at line `began` and is surely overwritten at `barrier`."""
    return item.operation.invoked < barrier and (item.pending or item.operation.completed > began)


class _Barriers:
    """Answered writes to one part of the state, by when they began."""

    def __init__(self, writers: list[Item]) -> None:
        ordered = sorted(writers, key=lambda item: item.operation.invoked)
        self._began = [item.operation.invoked for item in ordered]
        self._over = [item.operation.completed for item in ordered]
        for place in range(len(ordered) - 2, -1, -1):
            self._over[place] = min(self._over[place], self._over[place + 1])

    def after(self, line: int) -> int:
        """The line by which a write that began after `line` is surely over; NEVER when there is none."""
        place = bisect_right(self._began, line)
        return self._over[place] if place < len(self._over) else NEVER


def without_useless(problem: Problem) -> Problem:
    """The problem without pending items that no order needs. Striking one out may make another useless."""
    items = list(problem.items)
    while True:
        useless = {place for place in removable(items, problem.machine) if items[place].pending}
        if not useless:
            return Problem(problem.name, tuple(items), problem.machine)
        items = [item for place, item in enumerate(items) if place not in useless]
