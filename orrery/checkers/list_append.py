"""Transactions over lists, in the manner of Elle: strict serializability, and the name of what breaks it.

A transaction is `f` "txn" with a list of `["append", key, element]` and `["r", key, null]`; its `ok` completion carries
the same list with each read's list filled in. Each element is appended to a key at most once, so a read tells the
key's whole past: the longest read of a key orders its writers, and from that follow the dependencies (see
`dependencies.py`). Reference: Kingsbury and Alvaro, "Elle", VLDB 2020, sections 4 and 5.

Beyond Elle: an element that no read shows stands after all that the longest read shows when its transaction took place:
it was acknowledged, or a read shows another element of it. So a lost append is found even when nobody ever saw it.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from orrery.checkers.dependencies import Cycle, Graph, find_cycles
from orrery.checkers.history import NEVER, History, Json, Operation, canonical
from orrery.checkers.machine import ModelMismatch
from orrery.checkers.verdict import Anomaly, Edge, Limits, Verdict, from_anomalies

Element: TypeAlias = str
"""Canonical JSON."""
MICRO_OPERATIONS_MAX = 4096
"""In one transaction."""


@dataclass(slots=True)
class Txn:
    """A transaction, taken apart."""

    operation: Operation
    label: str
    appends: dict[str, list[Element]] = field(default_factory=dict)
    """By key, in the order of the transaction."""
    reads: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    """By key: the first read that no own append came before; what the transaction saw of the others."""
    contradiction: str | None = None
    """Why its own reads do not fit together; None when they do."""

    @property
    def name(self) -> str:
        """`T4 of process 2 (lines 5-9)`."""
        return f"T{self.operation.number} of process {self.operation.process} ({self.operation.lines})"


class _Evidence:
    """Everything that the checks share."""

    def __init__(self, history: History) -> None:
        self.txns: dict[int, Txn] = {}
        self.writers: dict[tuple[str, Element], Txn] = {}
        """Who appended an element, whatever became of it."""
        self.failed: set[int] = set()
        for operation in history.operations:
            txn = _parse(operation)
            self.txns[operation.number] = txn
            if operation.outcome == "fail":
                self.failed.add(operation.number)
            for key, elements in txn.appends.items():
                for element in elements:
                    other = self.writers.setdefault((key, element), txn)
                    if other is not txn or elements.count(element) > 1:
                        raise ModelMismatch(
                            operation, f"appends {element} to {key} a second time; elements must be unique"
                        )
        self.ok = [txn for txn in self.txns.values() if txn.operation.outcome == "ok"]
        self.longest: dict[str, tuple[Element, ...]] = {}
        self.longest_reader: dict[str, Txn] = {}
        self.anomalies: list[Anomaly] = []

    def tell(self, name: str, text: str, culprit: Txn, *others: Txn) -> None:
        """Notes an anomaly."""
        numbers = {txn.operation.number: txn for txn in (culprit, *others)}
        txns = sorted(numbers.values(), key=lambda txn: txn.operation.invoked)
        labels = {txn.operation.number: txn.label for txn in txns}
        culprits = frozenset({culprit.operation.number})
        self.anomalies.append(Anomaly(name, text, tuple(txn.operation for txn in txns), culprits, labels=labels))


def judge_list_append(history: History, limits: Limits) -> Verdict:
    """Judges against strict serializability. Raises ModelMismatch."""
    evidence = _Evidence(history)
    _check_reads(evidence)
    _order_versions(evidence)
    _check_lost_updates(evidence)
    for name, cycle in find_cycles(_graph(evidence)):
        evidence.anomalies.append(_cycle_anomaly(evidence, name, cycle))
    evidence.anomalies.sort(key=lambda anomaly: len(anomaly.operations))
    good = f"strictly serializable: no cycle among {len(evidence.ok)} transactions"
    return from_anomalies("list-append", evidence.anomalies, len(evidence.ok), good, limits)


def _parse(operation: Operation) -> Txn:
    if operation.f != "txn":
        raise ModelMismatch(operation, "list-append knows only txn")
    answered = operation.outcome == "ok"
    steps = operation.output if answered else operation.input
    if not isinstance(steps, list) or not isinstance(operation.input, list) or len(steps) != len(operation.input):
        raise ModelMismatch(
            operation, "a list of operations is wanted, and the completion's as long as the invocation's"
        )
    if len(steps) > MICRO_OPERATIONS_MAX:
        raise ModelMismatch(operation, f"more than {MICRO_OPERATIONS_MAX} operations in a transaction")
    txn = Txn(operation, "")
    state: dict[str, tuple[Element, ...]] = {}
    words = []
    for step, asked in zip(steps, operation.input, strict=True):
        kind, key, value = _micro_operation(operation, step)
        if (kind, key) != _micro_operation(operation, asked)[:2]:
            raise ModelMismatch(operation, "the completion's operations are not those of the invocation")
        if kind == "append":
            element = canonical(value)
            words.append(f"append {key} {element}")
            txn.appends.setdefault(key, []).append(element)
            if key in state:
                state[key] = (*state[key], element)
        elif answered:
            seen = _list(operation, value)
            words.append(f"r {key} [{' '.join(seen)}]")
            _note_read(txn, state, key, seen)
        else:
            words.append(f"r {key}")
    txn.label = ", ".join(words)
    return txn


def _micro_operation(operation: Operation, step: Json) -> tuple[str, str, Json]:
    if not isinstance(step, list) or len(step) != 3 or step[0] not in ("append", "r"):
        raise ModelMismatch(operation, '["append", key, element] or ["r", key, list] is wanted')
    return str(step[0]), canonical(step[1]), step[2]


def _list(operation: Operation, value: Json) -> tuple[Element, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ModelMismatch(operation, "a read answers a list")
    return tuple(canonical(element) for element in value)


def _note_read(txn: Txn, state: dict[str, tuple[Element, ...]], key: str, seen: tuple[Element, ...]) -> None:
    """A read must show what the transaction knows already; what it shows before own appends is of the others."""
    own = tuple(txn.appends.get(key, ()))
    if key in state:
        if seen != state[key]:
            txn.contradiction = (
                f"reads [{' '.join(seen)}] of {key} where its own past makes it [{' '.join(state[key])}]"
            )
        return
    if own and seen[-len(own) :] != own:
        txn.contradiction = f"reads [{' '.join(seen)}] of {key} and misses its own append of {' '.join(own)}"
    else:
        txn.reads[key] = seen[: len(seen) - len(own)]
    state[key] = seen


def _check_reads(evidence: _Evidence) -> None:
    for txn in evidence.ok:
        if txn.contradiction is not None:
            evidence.tell("internal", f"{txn.name} {txn.contradiction}", txn)
        for key, seen in txn.reads.items():
            if len(set(seen)) < len(seen):
                twice = next(element for element in seen if seen.count(element) > 1)
                evidence.tell("duplicate-elements", f"{txn.name} reads {twice} twice in {key}", txn)
            for element in seen:
                writer = evidence.writers.get((key, element))
                if writer is None:
                    evidence.tell("unwritten", f"{txn.name} reads {element} in {key}, which nobody appended", txn)
                elif writer.operation.number in evidence.failed:
                    text = f"{txn.name} reads {element} in {key}, which the aborted {writer.name} appended"
                    evidence.tell("G1a", text, txn, writer)
            if seen:
                _check_intermediate(evidence, txn, key, seen[-1])


def _check_intermediate(evidence: _Evidence, txn: Txn, key: str, last: Element) -> None:
    writer = evidence.writers.get((key, last))
    if writer is not None and writer is not txn and writer.appends[key][-1] != last:
        final = writer.appends[key][-1]
        text = f"{txn.name} reads {key} up to {last}, in the middle of {writer.name}, which went on to append {final}"
        evidence.tell("G1b", text, txn, writer)


def _order_versions(evidence: _Evidence) -> None:
    """The longest read of each key orders its elements; every other must be a beginning of it."""
    for txn in evidence.ok:
        for key, seen in txn.reads.items():
            if key not in evidence.longest or len(seen) > len(evidence.longest[key]):
                evidence.longest[key] = seen
                evidence.longest_reader[key] = txn
    for txn in evidence.ok:
        for key, seen in txn.reads.items():
            longest = evidence.longest[key]
            if longest[: len(seen)] != seen:
                other = evidence.longest_reader[key]
                both = f"[{' '.join(seen)}] of {key} and {other.name} [{' '.join(longest)}]"
                text = f"{txn.name} reads {both}: no order has both"
                evidence.tell("incompatible-order", text, txn, other)


def _check_lost_updates(evidence: _Evidence) -> None:
    """Two transactions that read the same version of a key and both appended to it: one did not see the other."""
    groups: dict[tuple[str, tuple[Element, ...]], list[Txn]] = defaultdict(list)
    for txn in evidence.ok:
        for key in txn.reads.keys() & txn.appends.keys():
            groups[key, txn.reads[key]].append(txn)
    for (key, seen), txns in groups.items():
        if len(txns) > 1:
            names = " and ".join(txn.name for txn in txns[:3])
            text = f"{names} all read [{' '.join(seen)}] of {key} and appended to it: an update is lost"
            evidence.tell("lost-update", text, txns[1], *txns)


def _graph(evidence: _Evidence) -> Graph:
    graph = Graph()
    unseen: dict[str, list[tuple[Element, Txn]]] = defaultdict(list)
    shown = {key: set(longest) for key, longest in evidence.longest.items()}
    took_place = {txn.operation.number for txn in evidence.ok}
    for (key, element), writer in evidence.writers.items():
        if element in shown.get(key, ()):
            took_place.add(writer.operation.number)
    for (key, element), writer in evidence.writers.items():
        if writer.operation.number in took_place and element not in shown.get(key, ()):
            unseen[key].append((element, writer))
    for key, longest in evidence.longest.items():
        for before, after in pairwise(longest):
            _connect(graph, evidence, key, before, after)
        for element, writer in unseen[key]:
            if longest and (last := evidence.writers.get((key, longest[-1]))) is not None:
                why = f"{element} in {key}, which no read shows, comes after {longest[-1]}"
                graph.add(last.operation.number, writer.operation.number, "ww", why)
    for txn in evidence.ok:
        for key, seen in txn.reads.items():
            _connect_read(graph, evidence, txn, key, seen, unseen[key])
    _add_process_order(graph, evidence)
    _add_real_time(graph, evidence)
    return graph


def _connect(graph: Graph, evidence: _Evidence, key: str, before: Element, after: Element) -> None:
    first, second = evidence.writers.get((key, before)), evidence.writers.get((key, after))
    if first is not None and second is not None:
        why = f"{after} stands behind {before} in {key}"
        graph.add(first.operation.number, second.operation.number, "ww", why)


def _connect_read(
    graph: Graph, evidence: _Evidence, txn: Txn, key: str, seen: tuple[Element, ...], unseen: list[tuple[Element, Txn]]
) -> None:
    number = txn.operation.number
    longest = evidence.longest[key]
    if seen and (writer := evidence.writers.get((key, seen[-1]))) is not None:
        graph.add(writer.operation.number, number, "wr", f"it read {seen[-1]} in {key}")
    if longest[: len(seen)] != seen:
        return
    if len(seen) < len(longest):
        element = longest[len(seen)]
        if (writer := evidence.writers.get((key, element))) is not None:
            graph.add(number, writer.operation.number, "rw", f"it read {key} without {element}")
    else:
        for element, writer in unseen:
            graph.add(number, writer.operation.number, "rw", f"it read {key} without {element}")


def _add_process_order(graph: Graph, evidence: _Evidence) -> None:
    last: dict[str, Txn] = {}
    for txn in evidence.ok:
        process = canonical(txn.operation.process)
        if process in last:
            why = f"process {txn.operation.process} did one after the other"
            graph.add(last[process].operation.number, txn.operation.number, "process", why)
        last[process] = txn


def _add_real_time(graph: Graph, evidence: _Evidence) -> None:
    """The transitive reduction of "was over before the other began": at most as many edges a node as are concurrent."""
    used = [txn for txn in evidence.txns.values() if txn.operation.number not in evidence.failed]
    events = [(txn.operation.invoked, False, txn) for txn in used]
    events += [(txn.operation.completed, True, txn) for txn in used if txn.operation.completed != NEVER]
    events.sort(key=lambda event: event[0])
    frontier: dict[int, Txn] = {}
    before: dict[int, list[int]] = {}
    for _, completes, txn in events:
        number = txn.operation.number
        if not completes:
            before[number] = list(frontier)
            for other in frontier.values():
                why = f"it was over in line {other.operation.completed}, before line {txn.operation.invoked}"
                graph.add(other.operation.number, number, "realtime", why)
        else:
            for other_number in before[number]:
                frontier.pop(other_number, None)
            frontier[number] = txn


def _cycle_anomaly(evidence: _Evidence, name: str, cycle: Cycle) -> Anomaly:
    txns = [evidence.txns[edge.source] for edge in cycle]
    steps = [f"T{edge.source} before T{edge.target} ({edge.kind}: {edge.why})" for edge in cycle]
    text = f"{name}: a cycle of {len(cycle)}: {'; '.join(steps)}"
    operations = sorted((txn.operation for txn in txns), key=lambda operation: operation.invoked)
    edges = tuple(Edge(edge.source, edge.target, edge.kind) for edge in cycle)
    numbers = frozenset(edge.source for edge in cycle)
    labels = {txn.operation.number: f"T{txn.operation.number}: {txn.label}" for txn in txns}
    return Anomaly(name, text, tuple(operations), numbers, edges=edges, labels=labels)
