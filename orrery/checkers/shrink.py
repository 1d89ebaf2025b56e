"""The smallest failing part of a history that has no order.

First the shortest failing prefix, by halving; then less of the answers is looked at (values
without versions), when that fails as well. Then calls are struck out, many at a time and
then one by one, as long as the rest still fails: only calls of which `machine.removable` says that the rest is at least
as easy without them, so every part shown is itself a proof. The result is minimal when time suffices: none of these
calls can be left out any more. (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002.)
"""

from collections.abc import Callable
from dataclasses import replace

from orrery.checkers.history import Operation
from orrery.checkers.linearizability import Budget, Linearization, linearize, prefix
from orrery.checkers.machine import Item, Problem, State, removable, without_useless
from orrery.checkers.verdict import Anomaly, Point

STEPS_MAX = 200_000
"""Of one trial. A part that is harder than this is taken for one that does not fail."""


def smallest_failing_part(problem: Problem, budget: Budget) -> tuple[Problem, Linearization]:
    """A smaller problem that still has no order, and its longest partial one. `problem` must have none."""
    limits, monotonic_s = budget.limits, budget.monotonic_s
    deadline_s = monotonic_s() + limits.shrink_seconds_max

    def fails(trial: Problem) -> bool:
        left_s = deadline_s - monotonic_s()
        trial_limits = replace(limits, steps_max=STEPS_MAX, seconds_max=max(left_s, 0.0))
        return linearize(trial, Budget(trial_limits, monotonic_s)).answer == "no"

    problem, stuck = _shortest_prefix(problem, fails)
    for items, machine in problem.machine.relaxations(problem.items):
        relaxed = Problem(problem.name, items, machine)
        if fails(relaxed):
            problem = relaxed
            break
    problem = _struck_out(without_useless(problem), stuck, fails)
    return problem, _explained(problem, stuck, budget)


def failing_prefix(problem: Problem, budget: Budget) -> tuple[Problem, Linearization]:
    """Only the shortest prefix that has no order: quicker."""
    prefixed, stuck = _shortest_prefix(
        problem, lambda trial: linearize(trial, Budget(budget.limits, budget.monotonic_s)).answer == "no"
    )
    return prefixed, _explained(prefixed, stuck, budget)


def _shortest_prefix(problem: Problem, fails: Callable[[Problem], bool]) -> tuple[Problem, Operation]:
    """By halving: what has no order has none with more behind it either. The operation is the one returning last."""
    answered = sorted((item for item in problem.items if not item.pending), key=lambda item: item.completed)
    low, high = 0, len(answered) - 1
    while low < high:
        middle = (low + high) // 2
        if fails(prefix(problem, answered[middle])):
            high = middle
        else:
            low = middle + 1
    return prefix(problem, answered[high]), answered[high].operation


def _struck_out(problem: Problem, stuck: Operation, fails: Callable[[Problem], bool]) -> Problem:
    """Without all that can go. What returns last stays: with it, the rest can often go at once."""
    chunk = len(problem.items)
    while chunk:
        removed = False
        places = [p for p in removable(problem.items, problem.machine) if problem.items[p].operation is not stuck]
        # From the newest to the oldest: what is struck out late frees earlier writes that it had observed.
        for end in range(len(places), 0, -chunk):
            out = set(places[max(0, end - chunk) : end])
            items = tuple(item for place, item in enumerate(problem.items) if place not in out)
            smaller = without_useless(Problem(problem.name, items, problem.machine))
            if fails(smaller):
                problem, removed = smaller, True
                break
        chunk = min(chunk, len(problem.items)) if removed else chunk // 2
    return problem


def _explained(problem: Problem, stuck: Operation, budget: Budget) -> Linearization:
    """The longest order: of everything but what returns last, which has one since the prefix is the shortest."""
    [culprit] = [item for item in problem.items if item.operation is stuck]
    without = tuple(item for item in problem.items if item is not culprit)
    found = linearize(Problem(problem.name, without, problem.machine), Budget(budget.limits, budget.monotonic_s))
    return Linearization("no", "", found.order, culprit)


def as_anomaly(problem: Problem, found: Linearization) -> Anomaly:
    """The failing part in words and in order."""
    assert found.stuck is not None
    machine = problem.machine
    state: State = found.order[-1][1] if found.order else machine.initial()
    placed = {item.operation.number for item, _ in found.order}
    line = found.stuck.operation.completed
    left = [item for item in problem.items if item.operation.number not in placed and not item.pending]
    blocked = [item for item in left if item.operation.invoked < line]
    labels = {item.operation.number: machine.describe(item.call) for item in problem.items}
    order = tuple(Point(item.operation.number, machine.describe_state(after)) for item, after in found.order)
    operations = tuple(sorted((item.operation for item in problem.items), key=lambda operation: operation.invoked))
    return Anomaly(
        "not-linearizable",
        _words(problem, found, blocked, machine.describe_state(state), labels),
        operations,
        frozenset({found.stuck.operation.number}),
        order,
        labels=labels,
    )


def _words(problem: Problem, found: Linearization, blocked: list[Item], state: str, labels: dict[int, str]) -> str:
    assert found.stuck is not None
    sentences = [
        f"{problem.name}: no order of these {len(problem.items)} operations explains "
        f"{_name(found.stuck, labels)}; everything that returned before it has one."
    ]
    if found.order:
        last = "; ".join(labels[item.operation.number] for item, _ in found.order[-6:])
        sentences.append(
            f"The longest order that works has {len(found.order)} of them, ends with {last}, and leaves {state}."
        )
    else:
        sentences.append(f"Not even the first of them is possible: the object holds {state}.")
    others = [item for item in blocked if item is not found.stuck]
    if others:
        names = ", ".join(_name(item, labels) for item in others[:4])
        sentences.append(f"Left over as well: {names}{' and more' if len(others) > 4 else ''}.")
    return " ".join(sentences)


def _name(item: Item, labels: dict[int, str]) -> str:
    operation = item.operation
    return f"`{labels[operation.number]}` of process {operation.process} ({operation.lines})"
