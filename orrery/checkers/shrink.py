"""The smallest failing part of a history that has no order.

First the shortest failing prefix, which the search gives for nothing; then less of the answers is looked at (values
without versions), when that fails as well. Then calls are struck out, many at a time and
then one by one, as long as the rest still fails: only calls of which `machine.removable` says that the rest is at least
as easy without them, so every part shown is itself a proof. The result is minimal when time suffices: none of these
calls can be left out any more. (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002.)
"""

from dataclasses import replace

from orrery.checkers.linearizability import Budget, Linearization, linearize, prefix
from orrery.checkers.machine import Item, Problem, State, removable, without_useless
from orrery.checkers.verdict import Anomaly, Point

STEPS_MAX = 200_000
"""Of one trial. A part that is harder than this is taken for one that does not fail."""


def smallest_failing_part(problem: Problem, found: Linearization, budget: Budget) -> tuple[Problem, Linearization]:
    """A smaller problem that still has no order, and what the search says of it. `found` must say no."""
    assert found.stuck is not None
    limits, monotonic_s = budget.limits, budget.monotonic_s
    deadline_s = monotonic_s() + limits.shrink_seconds_max
    problem, found = _tried(without_useless(prefix(problem, found.stuck)), found, budget)
    for items, machine in problem.machine.relaxations(problem.items):
        relaxed = without_useless(Problem(problem.name, items, machine))
        result = linearize(relaxed, Budget(replace(limits, steps_max=STEPS_MAX, seconds_max=1.0), monotonic_s))
        if result.answer == "no":
            problem, found = _tried(_prefix_of(relaxed, result), result, budget)
            break
    chunk = len(problem.items)
    while chunk and monotonic_s() < deadline_s:
        struck = False
        places = removable(problem.items, problem.machine)
        # From the newest to the oldest: what is struck out late frees earlier writes that it had observed.
        for end in range(len(places), 0, -chunk):
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                break
            allowed = set(removable(problem.items, problem.machine))
            out = {place for place in places[max(0, end - chunk) : end] if place in allowed}
            if not out:
                continue
            items = tuple(item for place, item in enumerate(problem.items) if place not in out)
            trial_limits = replace(limits, steps_max=STEPS_MAX, seconds_max=left_s)
            smaller = without_useless(Problem(problem.name, items, problem.machine))
            result = linearize(smaller, Budget(trial_limits, monotonic_s))
            if result.answer == "no":
                kept, result = _tried(_prefix_of(smaller, result), result, Budget(trial_limits, monotonic_s))
                problem, found, struck = kept, result, True
                places = removable(problem.items, problem.machine)
                break
        if not struck:
            chunk //= 2
        else:
            chunk = min(chunk, len(problem.items))
    return problem, found


def _prefix_of(problem: Problem, found: Linearization) -> Problem:
    assert found.stuck is not None
    return without_useless(prefix(problem, found.stuck))


def _tried(problem: Problem, before: Linearization, budget: Budget) -> tuple[Problem, Linearization]:
    """The search's words on a prefix; the old ones when it gives up, since the prefix fails by construction."""
    result = linearize(problem, Budget(budget.limits, budget.monotonic_s))
    return problem, result if result.answer == "no" else before


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
