from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from random import Random
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Store, make_history
from orrery.checkers.history import Event, EventType, History, Json, Key, Operation, pair
from orrery.checkers.judge import judge
from orrery.checkers.kv import kv_problems
from orrery.checkers.machine import ModelMismatch

Made = Callable[[Sequence[tuple[int, str, str, Json, Key]]], History]


def done(process: int, f: str, asked: Json, told: Json, key: Key = "k") -> list[tuple[int, str, str, Json, Key]]:
    return [(process, "invoke", f, asked, key), (process, "ok", f, told, key)]


# --- the oracle: values and versions, every order tried ------------------------------------------------


def store_allows(order: Iterable[Operation]) -> bool:
    value: Json = None
    version = 0
    for operation in order:
        told = cast("dict[str, Json]", operation.output or {})
        if operation.f == "get":
            if operation.output is None:
                if value is not None:
                    return False
            elif (told["value"], told["version"]) != (value, version):
                return False
        elif operation.f == "put":
            value, version = operation.input, version + 1
        elif operation.f == "delete":
            if operation.outcome == "ok" and told["deleted"] != int(value is not None):
                return False
            value, version = None, 0
        else:
            old, new = cast("list[Json]", operation.input)
            if operation.outcome == "ok" and told["succeeded"] != (value == old):
                return False
            if value == old:
                value, version = new, version + 1
    return True


def has_order(operations: Sequence[Operation]) -> bool:
    answered = [each for each in operations if each.outcome == "ok"]
    pending = [each for each in operations if each.outcome == "info" and each.f != "get"]
    for size in range(len(pending) + 1):
        for chosen in combinations(pending, size):
            for order in permutations([*answered, *chosen]):
                late = any(b.completed < a.invoked for i, a in enumerate(order) for b in order[i + 1 :])
                if not late and store_allows(order):
                    return True
    return False


@st.composite
def small_histories(draw: st.DrawFn) -> History:
    events: list[Event] = []
    busy: dict[int, tuple[str, Json]] = {}
    value = st.integers(1, 2)
    begun = 0
    while True:
        process = draw(st.integers(0, 2))
        line = len(events) + 1
        if process not in busy:
            if begun == 5 or (begun and draw(st.integers(0, 9)) == 0):
                break
            begun += 1
            f = draw(st.sampled_from(["get", "get", "put", "delete", "cas"]))
            asked: Json = None
            if f == "put":
                asked = draw(value)
            elif f == "cas":
                asked = [draw(st.none() | value), draw(value)]
            busy[process] = (f, asked)
            events.append(Event(line, process, "invoke", f, "k", asked, line))
        else:
            f, asked = busy.pop(process)
            kind: EventType = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
            told: Json = {}
            if f == "get":
                seen: Json = {"value": draw(value), "version": draw(st.integers(1, 2))}
                told = draw(st.sampled_from([None, seen]))
            elif f == "delete":
                told = {"deleted": draw(st.integers(0, 1))}
            elif f == "cas":
                told = {"succeeded": draw(st.booleans())}
            events.append(Event(line, process, kind, f, "k", told if kind == "ok" else None, line))
    return pair(events)


@settings(max_examples=250, deadline=None)
@given(small_histories())
def test_the_judge_agrees_with_every_order_tried_one_by_one(history: History) -> None:
    answered = any(each.outcome == "ok" for each in history.operations)
    expected = ("yes" if has_order(history.operations) else "no") if answered else "unknown"
    assert judge("kv", history).answer == expected


def test_a_put_of_what_is_there_may_be_needed_later(made: Made) -> None:
    """It changes nothing where it may stand first, and has its place between the two that compare."""
    history = made(
        [
            *done(0, "put", 2, {}),
            (0, "invoke", "put", 2, "k"),
            *done(1, "cas", [2, 1], {"succeeded": True}),
            (0, "ok", "put", {}, "k"),
            *done(1, "cas", [2, 1], {"succeeded": True}),
        ]
    )
    assert judge("kv", history).answer == "yes"


# --- a correct store, and one altered answer ---------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_a_correct_store_passes(seed: int, processes: int, with_txn: bool) -> None:
    history = make_history(Store(with_txn=with_txn), Random(seed), operations=50, processes=processes)
    assert judge("kv", history).answer == "yes"


def told_of(history: History, f: str, field: str) -> list[Operation]:
    answered = [each for each in history.operations if each.f == f and each.outcome == "ok"]
    return [each for each in answered if isinstance(each.output, dict) and each.output.get(field) is not None]


def altered(history: History, operation: Operation, **fields: Json) -> History:
    changed = replace(operation, output=cast("dict[str, Json]", operation.output) | fields)
    return History(tuple(changed if each is operation else each for each in history.operations))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([("value", 10**6), ("version", 10**6), ("mod_revision", 10**6), ("create_revision", 10**6)]),
)
def test_a_get_that_tells_what_never_was_fails(seed: int, wrong: tuple[str, int]) -> None:
    history = make_history(Store(), Random(seed), operations=50)
    gets = told_of(history, "get", "value")
    assume(gets)
    verdict = judge("kv", altered(history, Random(seed).choice(gets), **{wrong[0]: wrong[1]}))
    assert verdict.answer == "no"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_revision_given_twice_fails(seed: int) -> None:
    history = make_history(Store(), Random(seed), operations=50)
    puts = told_of(history, "put", "revision")
    assume(len(puts) >= 2)
    one, other = Random(seed).sample(puts, 2)
    verdict = judge("kv", altered(history, one, revision=cast("dict[str, Json]", other.output)["revision"]))
    assert verdict.answer == "no"
    assert any(anomaly.name == "revision-given-twice" for anomaly in verdict.anomalies)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_an_acknowledged_put_that_vanished_fails(seed: int) -> None:
    """A put, and the next get of the key tells the key as it was before: with nothing else in between."""
    history = make_history(Store(keys=1, with_txn=False), Random(seed), operations=50, processes=1, lost=0, failed=0)
    pairs = [
        (put, get)
        for put, get in zip(history.operations, history.operations[1:], strict=False)
        if (put.f, get.f) == ("put", "get")
    ]
    assume(pairs)
    _, get = Random(seed).choice(pairs)
    gone = replace(get, output=None)
    verdict = judge("kv", History(tuple(gone if each is get else each for each in history.operations)))
    assert verdict.answer == "no"
    assert len(verdict.anomalies[0].operations) <= len(history) - 1


# --- by hand -------------------------------------------------------------------------------------


def test_keys_of_one_transaction_are_one_problem(made: Made) -> None:
    txn: Json = {"compare": [["a", "value", "=", 1]], "then": [["put", "b", 2]], "else": []}
    rows = [
        *done(0, "put", 1, {}, "a"),
        *done(0, "put", 1, {}, "c"),
        *done(0, "txn", txn, {"succeeded": True}, None),
    ]
    assert sorted(problem.name for problem in kv_problems(made(rows))) == ['key "c"', 'keys "a", "b"']


def test_a_torn_transaction_is_found(made: Made) -> None:
    txn: Json = {"then": [["put", "a", 1], ["put", "b", 1]]}
    both: Json = {"then": [["get", "a"], ["get", "b"]]}
    torn: Json = {"succeeded": True, "results": [{"value": 1}, None]}
    rows: list[tuple[int, str, str, Json, Key]] = [
        (0, "invoke", "txn", txn, None),
        *done(1, "txn", both, torn, None),
        (0, "ok", "txn", {"succeeded": True}, None),
    ]
    verdict = judge("kv", made(rows))
    assert verdict.answer == "no"
    assert 'get "b" absent' in verdict.anomalies[0].text


def test_a_transaction_sees_its_own_put_at_its_own_revision(made: Made) -> None:
    txn: Json = {"then": [["put", "a", 1], ["get", "a"]]}
    told: Json = {
        "succeeded": True,
        "revision": 7,
        "results": [None, {"value": 1, "mod_revision": 7, "create_revision": 7}],
    }
    assert judge("kv", made(done(0, "txn", txn, told, None))).answer == "yes"
    wrong: Json = {"succeeded": True, "revision": 7, "results": [None, {"value": 1, "mod_revision": 6}]}
    assert judge("kv", made(done(0, "txn", txn, wrong, None))).answer == "no"


@pytest.mark.parametrize(("seen", "answer"), [(5, "yes"), (2, "no"), (3, "no")])
def test_a_revision_that_nobody_told_has_a_lower_bound(made: Made, seen: int, answer: str) -> None:
    """A put whose answer was lost came after revision 3, and a later get tells its revision."""
    rows = [
        *done(0, "put", 1, {"revision": 3}),
        (0, "invoke", "put", 2, "k"),
        (0, "info", "put", None, "k"),
        *done(1, "get", None, {"value": 2, "mod_revision": seen}),
    ]
    assert judge("kv", made(rows)).answer == answer


@pytest.mark.parametrize("taken", [1, 2])
def test_a_transaction_without_an_answer_may_have_taken_either_branch(made: Made, taken: int) -> None:
    """The guard looks at a revision that nobody told, so both ways are open."""
    txn: Json = {"compare": [["k", "mod_revision", "=", 9]], "then": [["put", "k", 1]], "else": [["put", "k", 2]]}
    rows: list[tuple[int, str, str, Json, Key]] = [
        (0, "invoke", "put", 0, "k"),
        (0, "info", "put", None, "k"),
        (0, "invoke", "txn", txn, None),
        (0, "info", "txn", None, None),
        *done(1, "get", None, {"value": taken}),
    ]
    assert judge("kv", made(rows)).answer == "yes"


def test_comparing_the_value_of_an_absent_key_is_false_as_in_etcd(made: Made) -> None:
    txn: Json = {"compare": [["k", "value", "!=", 1]], "then": [["put", "k", 2]], "else": []}
    assert judge("kv", made(done(0, "txn", txn, {"succeeded": False}, None))).answer == "yes"
    assert judge("kv", made(done(0, "txn", txn, {"succeeded": True}, None))).answer == "no"


def test_the_smallest_part_of_a_stale_read_leaves_versions_aside(made: Made) -> None:
    """Eleven puts count up the version, but the old value alone shows what is wrong."""
    rows = [row for n in range(1, 12) for row in done(0, "put", n, {"revision": n})]
    stale: Json = {"value": 3, "version": 3, "mod_revision": 3, "create_revision": 1, "revision": 3}
    verdict = judge("kv", made([*rows, *done(1, "get", None, stale)]))
    assert verdict.answer == "no"
    assert {anomaly.name for anomaly in verdict.anomalies} == {"not-linearizable", "revision-went-back"}
    part = next(anomaly for anomaly in verdict.anomalies if anomaly.name == "not-linearizable")
    assert [operation.f for operation in part.operations] == ["put", "put", "get"]


@pytest.mark.parametrize(
    ("f", "asked", "told"),
    [
        ("put", None, {}),
        ("put", 1, {"revision": "x"}),
        ("cas", [1], {"succeeded": True}),
        ("cas", [1, 2], {}),
        ("get", None, 7),
        ("increment", 1, {}),
        ("txn", {"compare": [["k", "value", "<", 1]]}, {"succeeded": True}),
        ("txn", {"compare": [["k", "lease", "=", 1]]}, {"succeeded": True}),
        ("txn", {"compare": [["k", "version", "="]]}, {"succeeded": True}),
        ("txn", {"compare": [["k", "version", "=", "x"]]}, {"succeeded": True}),
        ("txn", {"then": [["pop", "k"]]}, {"succeeded": True}),
        ("txn", {"then": [["get", [1]]]}, {"succeeded": True}),
        ("txn", {"then": [["get", "k"]]}, {"succeeded": True, "results": [None, None]}),
        ("txn", {"then": [["get", "k"]] * 129}, {"succeeded": True}),
        ("txn", {"then": 1}, {"succeeded": True}),
        ("txn", [], {"succeeded": True}),
    ],
)
def test_what_is_no_kv_history_is_refused_by_line(made: Made, f: str, asked: Json, told: Json) -> None:
    with pytest.raises(ModelMismatch, match=r"^lines 1-2: "):
        judge("kv", made(done(0, f, asked, told)))
