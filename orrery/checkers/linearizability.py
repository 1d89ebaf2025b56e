"""Is there one order of the operations that explains every answer and respects real time?

Theory of operation. The search of Wing and Gong, with Lowe's improvements: the history is a doubly linked list of calls
and returns; an operation is linearized by lifting its call and its return out of the list; only calls that stand before
the first return may come next; a configuration (which operations are linearized, and the state) that was seen is not
entered again. Four additions keep the number of configurations small:

- An answered call that only looks, and whose answer fits here, can be linearized at once, without an alternative: any
  order from here in which it stands later stays valid when it is moved here. One that writes what is there already
  changes nothing here either, but later it may.
- Pending operations (no answer) are outside the list, since they need not be linearized at all. Equal ones are
  interchangeable, so the one invoked first goes first; one that would not change the state is not tried.
- A pending operation is linearized only right before one that needs it: when the next one could do without and would
  leave the same state, the order without the pending one is as good, and is tried from where that was taken.
  The same holds for a write that alone explains what some answer tells: hidden before that one, it cannot be told.
- Of two configurations with the same answered operations and the same state, the one that used fewer pending operations
  can do all that the other can. So the cache keeps, for each, the smallest sets of pending ones.

The search looks ahead (what will be seen must not be hidden), so where it is stuck is not yet the shortest prefix that
has no order; `shrink.py` finds that one.

References: Wing and Gong, "Testing and verifying concurrent objects", JPDC 1993; Lowe, "Testing for linearizability",
Concurrency and Computation 2017; Athalye, Porcupine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from orrery.checkers.history import NEVER
from orrery.checkers.machine import Call, Item, Problem, State, prepared
from orrery.checkers.verdict import Answer, Limits

Way: TypeAlias = "tuple[Way, tuple[int, ...], int] | None"
"""What was linearized to get somewhere, newest last: (the way before, places of items, number of the state)."""
_STEPS_BETWEEN_CLOCK_READINGS = 2048


@dataclass(slots=True)
class Budget:
    """What is left of the limits; one for all problems of a history."""

    limits: Limits
    monotonic_s: Callable[[], float]
    steps: int = 0
    started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_s = self.monotonic_s()

    def spent(self) -> str | None:
        """Which limit is reached, in words; None while there is something left."""
        if self.steps >= self.limits.steps_max:
            return f"{self.limits.steps_max} steps were not enough"
        if self.monotonic_s() - self.started_s >= self.limits.seconds_max:
            return f"{self.limits.seconds_max:g} s were not enough"
        return None


@dataclass(frozen=True, slots=True)
class Linearization:
    """What a search found."""

    answer: Answer
    reason: str
    """Why the answer is unknown; empty otherwise."""
    order: tuple[tuple[Item, State], ...]
    """With yes an order and the state after each; otherwise the longest partial one."""
    stuck: Item | None
    """With no: an operation before whose return the search found no way."""


def linearize(problem: Problem, budget: Budget) -> Linearization:
    """Searches an order. Complexity: exponential in the concurrency at worst, linear in the length as a rule."""
    return _Search(prepared(problem), budget).run()


class _Frame:
    """A configuration on the way, and what was not yet tried from it."""

    __slots__ = ("base", "came_from", "candidates", "lifted", "path", "pending", "state", "used", "window")

    def __init__(
        self, lifted: tuple[int, ...], used: int, state: int, base: int, window: int, pending: int, path: Way
    ) -> None:
        self.lifted = lifted
        self.used = used
        """The class of pending calls of which one was used to come here; -1 when an answered call was linearized."""
        self.state = state
        self.base = base
        """All answered operations below this place are linearized."""
        self.window = window
        """Bit i: operation base + i is linearized."""
        self.pending = pending
        """Bits of the used pending operations, classes beside each other."""
        self.path = path
        self.came_from = -1
        """The state before an operation that the next one must not make useless; -1 after any other."""
        self.candidates: list[tuple[int, int]] = []
        """(place of an answered item, or -1 - class of pending ones; the state after it), the next one last."""


class _Search:
    def __init__(self, problem: Problem, budget: Budget) -> None:
        self._machine = problem.machine
        self._budget = budget
        answered = sorted((item for item in problem.items if not item.pending), key=lambda item: item.operation.invoked)
        waiting: dict[Call, list[Item]] = {}
        for item in sorted((item for item in problem.items if item.pending), key=lambda item: item.operation.invoked):
            waiting.setdefault(item.call, []).append(item)
        self._answered = answered
        self._classes = list(waiting.values())
        self._used = [0] * len(self._classes)
        widths = [0]
        for members in self._classes:
            widths.append(widths[-1] + len(members))
        self._offsets = widths
        self._link()
        self._states: list[State] = []
        self._numbers: dict[State, int] = {}
        tables: dict[Call, dict[int, tuple[int, ...]]] = {}
        self._tables = [tables.setdefault(item.call, {}) for item in answered]
        self._only_looks = [problem.machine.writes(item.call) is None for item in answered]
        self._class_tables: list[dict[int, tuple[int, ...]]] = [{} for _ in self._classes]
        self._remaining = len(answered)
        self._furthest_line = -1
        self._furthest: tuple[Way, int] = (None, -1)

    def _link(self) -> None:
        """The linked list. Node i is the call of item i, node n + i its return, node 2n the head and the end."""
        count = len(self._answered)
        events = [(item.operation.invoked, i) for i, item in enumerate(self._answered)]
        # What an answer has seen returns right behind it, so that the answer is what is stuck when there is no order.
        events += [(item.completed, count + i) for i, item in enumerate(self._answered) if item.deadline is None]
        events += [
            (item.completed, 2 * count + i) for i, item in enumerate(self._answered) if item.deadline is not None
        ]
        order = [2 * count, *(node if node < 2 * count else node - count for _, node in sorted(events))]
        self._next = [0] * (2 * count + 1)
        self._previous = [0] * (2 * count + 1)
        for left, right in zip(order, order[1:] + order[:1], strict=True):
            self._next[left] = right
            self._previous[right] = left

    def _lift(self, place: int) -> None:
        following, previous = self._next, self._previous
        for node in (place, place + len(self._answered)):
            left, right = previous[node], following[node]
            following[left] = right
            previous[right] = left
        self._remaining -= 1

    def _unlift(self, place: int) -> None:
        following, previous = self._next, self._previous
        for node in (place + len(self._answered), place):
            following[previous[node]] = node
            previous[following[node]] = node
        self._remaining += 1

    def _number(self, state: State) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
        return number

    def _after(self, table: dict[int, tuple[int, ...]], call: Call, state: int) -> tuple[int, ...]:
        after = table.get(state)
        if after is None:
            after = tuple(self._number(each) for each in self._machine.step(self._states[state], call))
            table[state] = after
        return after

    def _expand(self, frame: _Frame) -> None:
        """Linearizes what needs no choice, and lists what may come next."""
        following, tables, answered, only_looks = self._next, self._tables, self._answered, self._only_looks
        count, state = len(answered), frame.state
        candidates: list[tuple[int, int]] = []
        lifted: list[int] = []
        same = (state,)
        node = following[2 * count]
        while node < count:
            after = tables[node].get(state)
            if after is None:
                after = self._after(tables[node], answered[node].call, state)
            if after == same and only_looks[node]:
                left = self._previous[node]
                self._lift(node)
                lifted.append(node)
                frame.window |= 1 << (node - frame.base)
                node = following[left]
                continue
            candidates += [(node, each) for each in after]
            node = following[node]
        if lifted:
            frame.lifted += tuple(lifted)
            frame.path = (frame.path, tuple(lifted), state)
        window = frame.window
        ones = (~window & (window + 1)).bit_length() - 1
        frame.window = window >> ones
        frame.base += ones
        if not self._remaining:
            return
        if len(candidates) > 1:
            # What must return first is tried first: it is the best guess, and the last of the list is taken first.
            candidates.sort(key=lambda candidate: -answered[candidate[0]].completed)
        first_return = answered[node - count].completed
        if first_return > self._furthest_line:
            self._furthest_line = first_return
            self._furthest = (frame.path, node - count)
        waiting: list[tuple[int, int]] = []
        for number, members in enumerate(self._classes):
            used = self._used[number]
            if used < len(members) and members[used].operation.invoked < first_return:
                after = self._after(self._class_tables[number], members[used].call, state)
                waiting += [(-1 - number, each) for each in after if each != state]
        candidates = waiting + candidates
        if frame.came_from >= 0 and not lifted:
            candidates = [each for each in candidates if not self._could_do_without(each, frame.came_from)]
        frame.candidates = candidates

    def _could_do_without(self, candidate: tuple[int, int], state: int) -> bool:
        """Whether a candidate leads to the same state from another one."""
        choice, after = candidate
        if choice >= 0:
            return after in self._after(self._tables[choice], self._answered[choice].call, state)
        members = self._classes[-1 - choice]
        return after in self._after(self._class_tables[-1 - choice], members[0].call, state)

    def run(self) -> Linearization:
        budget = self._budget
        seen: dict[tuple[int, int, int], int | list[int]] = {}
        remembered = 0
        root = _Frame((), -1, self._number(self._machine.initial()), 0, 0, 0, None)
        self._expand(root)
        stack = [root]
        if not self._remaining:
            return self._found(root.path)
        next_reading = budget.steps
        while stack:
            frame = stack[-1]
            if not frame.candidates:
                stack.pop()
                self._undo(frame)
                continue
            budget.steps += 1
            if budget.steps >= next_reading:
                next_reading = budget.steps + _STEPS_BETWEEN_CLOCK_READINGS
                if (reason := budget.spent()) is not None:
                    return self._gave_up(reason)
            new = self._enter(frame, *frame.candidates.pop())
            self._expand(new)
            if not self._remaining:
                return self._found(new.path)
            key = (new.base, new.window, new.state)
            known = seen.get(key)
            if known is None:
                seen[key] = new.pending
                remembered += 1
                if remembered > budget.limits.configurations_max:
                    return self._gave_up(f"{budget.limits.configurations_max} configurations were not enough")
            elif isinstance(known, int):
                if known & ~new.pending == 0:
                    self._undo(new)
                    continue
                seen[key] = new.pending if new.pending & ~known == 0 else [known, new.pending]
                remembered += 1
            else:
                if any(each & ~new.pending == 0 for each in known):
                    self._undo(new)
                    continue
                seen[key] = [each for each in known if new.pending & ~each] + [new.pending]
                remembered += 1
            stack.append(new)
        path, stuck = self._furthest
        return Linearization("no", "", self._order(path), self._answered[stuck])

    def _enter(self, frame: _Frame, choice: int, state: int) -> _Frame:
        if choice >= 0:
            self._lift(choice)
            window = frame.window | 1 << (choice - frame.base)
            path: Way = (frame.path, (choice,), state)
            entered = _Frame((choice,), -1, state, frame.base, window, frame.pending, path)
            if self._answered[choice].to_be_seen:
                entered.came_from = frame.state
            return entered
        number = -1 - choice
        used = self._used[number]
        self._used[number] = used + 1
        pending = frame.pending | 1 << (self._offsets[number] + used)
        path = (frame.path, (-1 - self._offsets[number] - used,), state)
        entered = _Frame((), number, state, frame.base, frame.window, pending, path)
        entered.came_from = frame.state
        return entered

    def _undo(self, frame: _Frame) -> None:
        for place in reversed(frame.lifted):
            self._unlift(place)
        if frame.used >= 0:
            self._used[frame.used] -= 1

    def _found(self, path: Way) -> Linearization:
        return Linearization("yes", "", self._order(path), None)

    def _gave_up(self, reason: str) -> Linearization:
        return Linearization("unknown", reason, self._order(self._furthest[0]), None)

    def _order(self, path: Way) -> tuple[tuple[Item, State], ...]:
        flat = [item for members in self._classes for item in members]
        order: list[tuple[Item, State]] = []
        while path is not None:
            path, places, state = path
            for place in reversed(places):
                item = self._answered[place] if place >= 0 else flat[-1 - place]
                order.append((item, self._states[state]))
        order.reverse()
        return tuple(order)


def prefix(problem: Problem, stuck: Item) -> Problem:
    """The part up to the return of `stuck`: what returned later is pending, what was invoked later is gone."""
    line = stuck.operation.completed
    assert line != NEVER
    items = tuple(
        Item(item.operation, item.call, item.pending or item.operation.completed > line)
        for item in problem.items
        if item.operation.invoked < line
    )
    return Problem(problem.name, items, problem.machine)
