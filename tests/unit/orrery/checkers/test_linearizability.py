"""The search against published verdicts, against every order tried one by one, and against correct objects.

The oracle below shares nothing with the search: it knows what a register does, tries each order of the answered
operations with each choice of the others among them, and keeps those that respect real time.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from random import Random
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Register, make_history
from orrery.checkers.history import NEVER, Event, EventType, History, Json, Operation, pair
from orrery.checkers.judge import judge
from orrery.checkers.linearizability import Budget, Linearization, linearize
from orrery.checkers.machine import Problem
from orrery.checkers.registers import RegisterMachine, register_problems
from orrery.checkers.shrink import as_anomaly, failing_prefix, smallest_failing_part
from orrery.checkers.verdict import Limits


def search(problem: Problem, limits: Limits | None = None) -> Linearization:
    return linearize(problem, Budget(limits or Limits(), time.monotonic))


def problem_of(history: History) -> Problem:
    """All of a history with one key, or with no operation that tells anything."""
    problems = register_problems(history, with_cas=True)
    assert len(problems) <= 1
    return problems[0] if problems else Problem("nothing", (), RegisterMachine())


# --- the oracle ---------------------------------------------------------------------------------


def register_allows(order: Iterable[Operation]) -> bool:
    value: Json = None
    for operation in order:
        if operation.f == "write":
            value = operation.input
        elif operation.f == "read":
            if operation.output != value:
                return False
        else:
            old, new = cast("list[Json]", operation.input)
            if (operation.outcome == "ok" and operation.output is False) == (value == old):
                return False
            if value == old:
                value = new
    return True


def has_order(operations: Sequence[Operation]) -> bool:
    answered = [each for each in operations if each.outcome == "ok"]
    pending = [each for each in operations if each.outcome == "info" and each.f != "read"]
    for size in range(len(pending) + 1):
        for chosen in combinations(pending, size):
            for order in permutations([*answered, *chosen]):
                late = any(b.completed < a.invoked for i, a in enumerate(order) for b in order[i + 1 :])
                if not late and register_allows(order):
                    return True
    return False


@st.composite
def small_histories(draw: st.DrawFn) -> History:
    """Up to six operations of three processes over few values, most of them with answers that somebody made up."""
    events: list[Event] = []
    busy: dict[int, tuple[str, Json]] = {}
    value = st.integers(0, 2)
    begun = 0
    while True:
        process = draw(st.integers(0, 2))
        line = len(events) + 1
        if process not in busy:
            if begun == 6 or (begun and draw(st.integers(0, 9)) == 0):
                break
            begun += 1
            f = draw(st.sampled_from(["read", "read", "write", "cas"]))
            asked: Json = None
            if f == "write":
                asked = draw(value)
            elif f == "cas":
                asked = [draw(value), draw(value)]
            busy[process] = (f, asked)
            events.append(Event(line, process, "invoke", f, None, asked, line))
        else:
            f, asked = busy.pop(process)
            kind: EventType = draw(st.sampled_from(["ok", "ok", "ok", "ok", "info", "fail"]))
            told: Json = draw(st.none() | value) if f == "read" else asked
            if f == "cas" and draw(st.integers(0, 3)) == 0:
                told = False
            events.append(Event(line, process, kind, f, None, told if kind == "ok" else None, line))
    return pair(events)


@settings(max_examples=250, deadline=None)
@given(small_histories())
def test_the_search_agrees_with_every_order_tried_one_by_one(history: History) -> None:
    assert search(problem_of(history)).answer == ("yes" if has_order(history.operations) else "no")


@settings(max_examples=120, deadline=None)
@given(small_histories())
def test_an_order_that_is_found_is_one(history: History) -> None:
    found = search(problem_of(history))
    order = [item.operation for item, _ in found.order]
    assert len({operation.number for operation in order}) == len(order)
    assert register_allows(order)
    assert not any(b.completed < a.invoked for i, a in enumerate(order) for b in order[i + 1 :])
    if found.answer == "yes":
        answered = {each.number for each in history.operations if each.outcome == "ok"}
        assert answered <= {operation.number for operation in order}


@settings(max_examples=150, deadline=None)
@given(small_histories())
def test_the_failing_prefix_is_the_shortest_one(history: History) -> None:
    problem = problem_of(history)
    found = search(problem)
    assume(found.answer == "no")
    part, result = failing_prefix(problem, Budget(Limits(), time.monotonic))
    assert result.stuck is not None
    line = result.stuck.operation.completed

    def seen_until(end: int) -> list[Operation]:
        """What returned later may have happened or not, as its answer tells: a cas that is refused changes nothing."""
        begun = [each for each in history.operations if each.invoked <= end and each.outcome != "fail"]
        begun = [each for each in begun if each.completed <= end or each.output is not False]
        return [each if each.completed <= end else replace(each, outcome="info", completed=NEVER) for each in begun]

    assert has_order(seen_until(line - 1))
    assert not has_order(seen_until(line))
    assert search(part).answer == "no"


@settings(max_examples=120, deadline=None)
@given(small_histories())
def test_the_smallest_failing_part_is_part_of_the_history_and_fails(history: History) -> None:
    problem = problem_of(history)
    found = search(problem)
    assume(found.answer == "no")
    part, result = smallest_failing_part(problem, Budget(Limits(), time.monotonic))
    assert result.answer == "no"
    originals = {operation.number: operation for operation in history.operations}
    assert all(originals[item.operation.number] is item.operation for item in part.items)
    seen = [
        replace(each.operation, outcome="info", completed=NEVER) if each.pending else each.operation
        for each in part.items
    ]
    assert not has_order(seen)
    anomaly = as_anomaly(part, result)
    assert anomaly.culprits <= {operation.number for operation in anomaly.operations}


# --- correct objects, and one altered answer ------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([0.0, 0.1, 0.3]))
def test_a_correct_register_passes(seed: int, processes: int, lost: float) -> None:
    history = make_history(Register(), Random(seed), operations=60, processes=processes, lost=lost)
    assert judge("cas-register", history).answer in ("yes", "unknown" if len(history) == 0 else "yes")


def altered(history: History, number: int, output: Json) -> History:
    operations = [replace(each, output=output) if each.number == number else each for each in history.operations]
    return History(tuple(operations), history.name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_read_of_what_nobody_wrote_fails(seed: int) -> None:
    history = make_history(Register(), Random(seed), operations=40)
    reads = [each for each in history.operations if each.f == "read" and each.outcome == "ok"]
    assume(reads)
    wrong = Random(seed).choice(reads)
    verdict = judge("cas-register", altered(history, wrong.number, 10**6))
    assert verdict.answer == "no"
    assert verdict.anomalies[0].culprits == {wrong.number}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_read_of_what_was_surely_overwritten_fails(seed: int) -> None:
    """Values are unique. So a value, written before another write began that was over before the read, is gone."""
    history = make_history(Register(keys=1, with_cas=False), Random(seed), operations=40)
    writes = [each for each in history.operations if each.f == "write" and each.outcome == "ok"]
    candidates = [
        (read, gone)
        for read in history.operations
        if read.f == "read" and read.outcome == "ok"
        for gone in writes
        if any(gone.precedes(later) and later.precedes(read) for later in writes)
    ]
    assume(candidates)
    read, gone = Random(seed).choice(candidates)
    verdict = judge("register", altered(history, read.number, gone.input))
    assert verdict.answer == "no"
    shown = {operation.number for operation in verdict.anomalies[0].operations}
    assert len(shown) <= 8, "the stale write, one that overwrote it, a read or two"


# --- limits, length -----------------------------------------------------------------------------


def test_limits_make_it_unknown() -> None:
    history = make_history(Register(keys=1), Random(3), operations=60, processes=8, lost=0.3)
    problem = problem_of(history)
    for limits in (Limits(steps_max=0), Limits(seconds_max=0.0), Limits(configurations_max=0)):
        found = search(problem, limits)
        assert found.answer == "unknown"
        assert "were not enough" in found.reason
    assert search(problem).answer == "yes"


def test_time_is_read_while_searching() -> None:
    readings = iter(range(1000))
    budget = Budget(Limits(seconds_max=2.0), lambda: float(next(readings)))
    history = make_history(Register(keys=1), Random(5), operations=3000, processes=8, lost=0.2)
    assert linearize(problem_of(history), budget).answer == "unknown"
    assert budget.steps > 0


def test_a_long_history_takes_time_in_proportion() -> None:
    history = make_history(Register(keys=1), Random(1), operations=10_000, processes=5, lost=0.0)
    problem = problem_of(history)
    budget = Budget(Limits(), time.monotonic)
    assert linearize(problem, budget).answer == "yes"
    assert budget.steps < 10 * len(problem.items)


def test_many_lost_writes_do_not_explode() -> None:
    """Forty writes without an answer, and a read of what none of them wrote: two to the power of forty orders."""
    events: list[Event] = []
    for process in range(40):
        events.append(Event(len(events) + 1, process, "invoke", "write", None, process, 0))
    for number, value in enumerate([*range(40), 99]):
        process = 100 + number
        events.append(Event(len(events) + 1, process, "invoke", "read", None, None, 0))
        events.append(Event(len(events) + 1, process, "ok", "read", None, value, 0))
    budget = Budget(Limits(), time.monotonic)
    assert linearize(problem_of(pair(events)), budget).answer == "no"
    assert budget.steps < 10_000


# --- published verdicts ---------------------------------------------------------------------------

LINE = re.compile(r"INFO  jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)")


def peers() -> Path | None:
    """Where published data lies: $ORRERY_PEERS, or `shared/peers` beside the checkout or above."""
    if "ORRERY_PEERS" in os.environ:
        return Path(os.environ["ORRERY_PEERS"])
    return next(
        (up / "shared/peers" for up in Path(__file__).resolve().parents if (up / "shared/peers").is_dir()), None
    )


def jepsen_history(path: Path) -> History:
    """A failed cas has compared and found another value; the model of the published verdicts says so, too."""
    events = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = LINE.match(line)
        assert match, line
        process, kind, f, text = match.groups()
        value: Json = None
        if text[0] == "[":
            value = [int(part) for part in text[1:-1].split()]
        elif text.strip() not in ("nil", ":timed-out"):
            value = int(text)
        refused = kind == "fail" and f == "cas"
        kind = "ok" if refused else kind
        events.append(Event(number, int(process), cast("EventType", kind), f, None, False if refused else value, 0))
    return pair(events, path.name)


def test_published_verdicts_on_jepsens_etcd_histories() -> None:
    """Each history is decided, agrees, and takes less than 2 s on average, the smallest failing part included."""
    folder = peers()
    if folder is None or not (folder / "porcupine/verdicts.txt").is_file():
        pytest.skip("porcupine's histories: no shared/peers/porcupine above the checkout, and ORRERY_PEERS is not set")
    verdicts = dict(line.split() for line in (folder / "porcupine/verdicts.txt").read_text().splitlines())
    assert len(verdicts) >= 62
    started_s = time.monotonic()
    disagreed = []
    for name, expected in verdicts.items():
        verdict = judge("cas-register", jepsen_history(folder / "porcupine" / name))
        if verdict.answer != {"true": "yes", "false": "no"}[expected]:
            disagreed.append((name, expected, verdict.answer))
        if verdict.answer == "no":
            assert verdict.anomalies[0].culprits
    assert not disagreed
    assert (time.monotonic() - started_s) / len(verdicts) < 2.0
