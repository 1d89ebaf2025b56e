"""What the linearizability judge must know of an object: its states, its steps, and how to say them in words.

A history is cut into problems that can be judged alone: linearizability is local (Herlihy and Wing, "Linearizability: a
correctness condition for concurrent objects", TOPLAS 1990, theorem 1), so each key is a problem of its own.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
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

    def requires(self, call: Call) -> Iterable[Token]:
        """Values that stood there when the call took effect, as its answer proves."""
        ...

    def may_write(self, call: Call) -> Iterable[Token]:
        """Everything that the call may write."""
        ...

    def taken(self, call: Call, written: Token) -> Call | None:
        """A call without an answer as if it had told that it wrote this; None when that is not one call."""
        ...

    def unseen(self, call: Call, named: AbstractSet[Token]) -> Call:
        """The call with each value that is not among the named ones replaced by one that stands for them all."""
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
    deadline: int | None = None
    """The line by which it has taken effect although it was not answered, since somebody has seen it."""

    to_be_seen: bool = False
    """Whether it alone writes a value that another answer proves: nothing may hide it before that one has come."""

    @property
    def completed(self) -> int:
        """The line by which it has taken effect; NEVER when it need not."""
        return NEVER if self.pending else self.operation.completed if self.deadline is None else self.deadline


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


def prepared(problem: Problem) -> Problem:
    """The same question with fewer pending items, and fewer kinds of them.

    - What no order needs is left out.
    - What alone can have written a value that an answer proves has taken effect, by the time of that answer.
    - Values that no call names are all the same, and so are the calls that write them.
    """
    problem = without_useless(problem)
    machine = problem.machine
    writers: Counter[Token] = Counter()
    seen_by: dict[Token, int] = {}
    named: set[Token] = set()
    for item in problem.items:
        writers.update(set(machine.may_write(item.call)))
        named.update(machine.observes(item.call))
        if not item.pending:
            for token in machine.requires(item.call):
                seen_by[token] = min(seen_by.get(token, NEVER), item.operation.completed)
    items = [_prepared(item, machine, writers, seen_by, named) for item in problem.items]
    return Problem(problem.name, tuple(items), machine)


def _prepared(
    item: Item, machine: Machine, writers: Counter[Token], seen_by: dict[Token, int], named: set[Token]
) -> Item:
    own = set(machine.requires(item.call))
    seen = [token for token in machine.may_write(item.call) if writers[token] == 1 and token in seen_by]
    if not item.pending:
        return replace(item, to_be_seen=True) if any(token not in own for token in seen) else item
    for token in seen:
        taken = machine.taken(item.call, token)
        if taken is not None and seen_by[token] > item.operation.invoked:
            return Item(item.operation, taken, pending=False, deadline=seen_by[token], to_be_seen=True)
    return Item(item.operation, machine.unseen(item.call, named), pending=True)
