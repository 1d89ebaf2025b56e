"""One entrance to all judges: a model's name and a history in, a verdict out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from orrery.checkers.history import History
from orrery.checkers.kv import kv_problems
from orrery.checkers.lease import judge_lease
from orrery.checkers.linearizability import Budget, Linearization, linearize
from orrery.checkers.list_append import judge_list_append
from orrery.checkers.lock import judge_lock
from orrery.checkers.log import judge_log
from orrery.checkers.machine import Problem
from orrery.checkers.models import MODELS
from orrery.checkers.registers import register_problems
from orrery.checkers.revisions import check_revisions, told_revisions
from orrery.checkers.shrink import as_anomaly, failing_prefix, smallest_failing_part
from orrery.checkers.verdict import Anomaly, Limits, Verdict
from orrery.checkers.watch import judge_watch
from orrery.checkers.witness import is_explained, seen_revisions

_SHRUNK_MAX = 3
"""Of the problems that fail, only so many are shrunk; of the others the shortest failing prefix is told."""


def judge(
    model: str, history: History, limits: Limits | None = None, monotonic_s: Callable[[], float] = time.monotonic
) -> Verdict:
    """Judges a history. Raises ModelMismatch when the model cannot read it, and ValueError for an unknown model."""
    limits = limits or Limits()
    started_s = monotonic_s()
    if model in ("register", "cas-register"):
        verdict = _linearizable(
            model, register_problems(history, with_cas=model == "cas-register"), [], limits, monotonic_s
        )
    elif model == "kv":
        seen = seen_revisions(history)
        anomalies = check_revisions(told_revisions(history))
        verdict = _linearizable(
            model, kv_problems(history), anomalies, limits, monotonic_s, lambda problem: is_explained(problem, seen)
        )
    elif model == "list-append":
        verdict = judge_list_append(history, limits)
    elif model == "log":
        verdict = judge_log(history, limits)
    elif model == "watch":
        verdict = judge_watch(history, limits)
    elif model == "lock":
        verdict = judge_lock(history, limits)
    elif model == "lease":
        verdict = judge_lease(history, limits)
    else:
        raise ValueError(f"unknown model {model!r}; there are {', '.join(MODELS)}")
    return replace(verdict, elapsed_s=monotonic_s() - started_s)


def guess_model(history: History) -> str | None:
    """The model whose operations these are; None when that is not clear."""
    names = {operation.f for operation in history.operations}
    if "watch" in names:
        return "watch"
    if names & {"grant", "attach", "keepalive", "revoke", "look"}:
        return "lease"
    if names & {"acquire", "release", "fenced-write", "renew"}:
        return "lock"
    if names & {"send", "poll", "drain"}:
        return "log"
    if names & {"put", "get", "delete"}:
        return "kv"
    if names == {"txn"}:
        shapes = {type(operation.input) for operation in history.operations}
        return "list-append" if shapes == {list} else "kv" if shapes == {dict} else None
    if names <= {"read", "write", "cas"} and names:
        return "cas-register" if "cas" in names else "register"
    return None


def _linearizable(
    model: str,
    problems: Sequence[Problem],
    anomalies: list[Anomaly],
    limits: Limits,
    monotonic_s: Callable[[], float],
    is_explained_at_sight: Callable[[Problem], bool] = lambda problem: False,
) -> Verdict:
    budget = Budget(limits, monotonic_s)
    operations = sum(len(problem.items) for problem in problems)
    answered = sum(not item.pending for problem in problems for item in problem.items)
    failed: list[Problem] = []
    unknown: list[tuple[Problem, Linearization]] = []
    # Short ones first: when time runs out, most have been judged.
    for problem in sorted(problems, key=lambda problem: len(problem.items)):
        if is_explained_at_sight(problem):
            continue
        found = linearize(problem, budget)
        if found.answer == "no":
            failed.append(problem)
        elif found.answer == "unknown":
            unknown.append((problem, found))
    if failed or anomalies:
        for place, problem in enumerate(failed[: limits.anomalies_max]):
            shrink = smallest_failing_part if place < _SHRUNK_MAX else failing_prefix
            anomalies.append(as_anomaly(*shrink(problem, budget)))
        parts = [f"not linearizable in {len(failed)} of {len(problems)} parts"] if failed else []
        others = len(anomalies) - min(len(failed), limits.anomalies_max)
        between = "a contradiction" if others == 1 else f"{others} contradictions"
        parts += [f"{between} between the store's revisions"] if others else []
        summary = "; ".join(parts)
        anomalies.sort(key=lambda anomaly: len(anomaly.operations))
        return Verdict(
            "no", model, summary, operations, budget.steps, anomalies=tuple(anomalies[: limits.anomalies_max])
        )
    if unknown:
        summary = f"gave up on {len(unknown)} of {len(problems)} parts: {unknown[0][1].reason} ({unknown[0][0].name})"
        return Verdict("unknown", model, summary, operations, budget.steps)
    if not answered:
        return Verdict("unknown", model, "nothing to judge: no operation was answered", operations)
    parts_text = "one part" if len(problems) == 1 else f"{len(problems)} parts"
    return Verdict("yes", model, f"linearizable: {operations} operations in {parts_text}", operations, budget.steps)
