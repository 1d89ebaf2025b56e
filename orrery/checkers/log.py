"""A broker's partitions as append-only logs: nothing acknowledged is lost, nothing is twice, out of order or aborted.

| f | key | value of the invocation | value of the completion |
|---|---|---|---|
| `send` | partition | the message | `[offset, message]`, or null when the offset is not told |
| `poll` | partition | null | `[[offset, message], ...]` |
| `drain` | partition | null | the same; reads from the beginning to the end |
| `assign` | partition or null | null | null; the process may read on from anywhere (rebalance, seek, restart) |
| `txn` | | `[["send", partition, message], ["poll", partition, null]]` | the same, with `[offset, message]` and lists |

A loss shows when a process reads over the place, or drains the partition; so a history ends with a drain of each.
Messages are unique in a partition. A failed `send` or `txn` is aborted, and nobody may read it. Offsets may have gaps,
as the markers of transactions leave them; a compacted partition loses on purpose and cannot be judged. Reference: the
kafka workload of Jepsen, and Kingsbury, "Jepsen: Redpanda 21.10.1", 2022.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from orrery.checkers.history import History, Json, Operation, canonical
from orrery.checkers.machine import ModelMismatch
from orrery.checkers.verdict import Anomaly, Limits, Verdict, from_anomalies


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way in."""

    operation: Operation
    message: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Polled:
    """Messages that one answer brought."""

    operation: Operation
    messages: tuple[tuple[int, str], ...]
    continues: bool
    """Whether the process had to go on behind what it polled last."""
    drained: bool
    """Whether it read everything that was there."""


@dataclass(slots=True)
class Partition:
    """Everything that happened to one partition, in the order of invocations."""

    name: str
    sent: dict[str, Sent] = field(default_factory=dict)
    polled: list[Polled] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)

    def tell(self, name: str, text: str, *operations: Operation) -> None:
        """Notes an anomaly; the first operation is the culprit."""
        unique = {operation.number: operation for operation in operations}
        ordered = sorted(unique.values(), key=lambda operation: operation.invoked)
        labels = {operation.number: _label(operation) for operation in ordered}
        text = f"partition {self.name}: {text}"
        self.anomalies.append(Anomaly(name, text, tuple(ordered), frozenset({operations[0].number}), labels=labels))


def judge_log(history: History, limits: Limits) -> Verdict:
    """Judges all partitions. Raises ModelMismatch."""
    partitions = _partitions(history)
    anomalies: list[Anomaly] = []
    for partition in partitions.values():
        _check_offsets(partition)
        _check_origin(partition)
        _check_order_of_polls(partition)
        _check_order_of_sends(partition)
        _check_lost(partition)
        anomalies += partition.anomalies
    answered = sum(operation.outcome == "ok" and operation.f != "assign" for operation in history.operations)
    good = f"{answered} operations in {len(partitions)} partitions: nothing lost, twice, out of order or aborted"
    return from_anomalies("log", anomalies, answered, good, limits)


def _partitions(history: History) -> dict[str, Partition]:
    partitions: dict[str, Partition] = {}
    reading: dict[str, set[str]] = {}
    """By process: the partitions in which it has a position."""
    for operation in history.operations:
        process = canonical(operation.process)
        if operation.f == "assign":
            if operation.key is None:
                reading.pop(process, None)
            else:
                reading.get(process, set()).discard(canonical(operation.key))
            continue
        for kind, key, value in _steps(operation):
            partition = partitions.setdefault(key, Partition(key))
            if kind == "send":
                sent = _sent(operation, value)
                if sent.message in partition.sent:
                    raise ModelMismatch(
                        operation, f"sends {sent.message} to {key} a second time; messages must be unique"
                    )
                partition.sent[sent.message] = sent
            elif operation.outcome == "ok":
                positions = reading.setdefault(process, set())
                drained = kind == "drain"
                messages = _messages(operation, value)
                partition.polled.append(Polled(operation, messages, key in positions and not drained, drained))
                if messages and not drained:
                    positions.add(key)
            elif operation.outcome == "info":
                # Who knows what it brought and the process lost: it goes on from anywhere.
                reading.get(process, set()).discard(key)
    return partitions


def _steps(operation: Operation) -> list[tuple[str, str, Json]]:
    """(send, poll or drain; partition; for a send the pair of invocation's and completion's value, else the answer)."""
    if operation.f in ("send", "poll", "drain"):
        value: Json = [operation.input, operation.output] if operation.f == "send" else operation.output
        return [(operation.f, canonical(operation.key), value)]
    if operation.f != "txn":
        raise ModelMismatch(operation, "a log knows send, poll, drain, assign and txn")
    asked = operation.input
    told = operation.output if operation.outcome == "ok" else operation.input
    if not isinstance(asked, list) or not isinstance(told, list) or len(asked) != len(told):
        raise ModelMismatch(operation, "a txn carries a list, and its completion one as long")
    steps: list[tuple[str, str, Json]] = []
    for before, after in zip(asked, told, strict=True):
        if not isinstance(before, list) or not isinstance(after, list) or len(before) != 3 or len(after) != 3:
            raise ModelMismatch(operation, '["send", partition, message] or ["poll", partition, list] is wanted')
        kind, key, value = before
        if kind not in ("send", "poll") or after[:2] != before[:2]:
            raise ModelMismatch(operation, "a txn sends and polls, and its completion tells the same operations")
        answer = after[2] if operation.outcome == "ok" else None
        steps.append((str(kind), canonical(key), [value, answer] if kind == "send" else answer))
    return steps


def _sent(operation: Operation, value: Json) -> Sent:
    assert isinstance(value, list)
    asked, told = value
    message = canonical(asked)
    if operation.outcome != "ok" or told is None:
        return Sent(operation, message, None)
    offset, echoed = _entry(operation, told)
    if echoed != message:
        raise ModelMismatch(operation, f"sends {message}, and its completion tells of {echoed}")
    return Sent(operation, message, offset)


def _messages(operation: Operation, value: Json) -> tuple[tuple[int, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ModelMismatch(operation, "a poll answers a list of [offset, message]")
    return tuple(_entry(operation, entry) for entry in value)


def _entry(operation: Operation, entry: Json) -> tuple[int, str]:
    if not isinstance(entry, list) or len(entry) != 2 or type(entry[0]) is not int:
        raise ModelMismatch(operation, "[offset, message] is wanted")
    return entry[0], canonical(entry[1])


def _check_offsets(partition: Partition) -> None:
    """An offset holds one message, and a message stands at one offset, whoever tells it."""
    at: dict[int, tuple[str, Operation]] = {}
    where: dict[str, tuple[int, Operation]] = {}
    told = [(sent.offset, sent.message, sent.operation) for sent in partition.sent.values() if sent.offset is not None]
    told += [(offset, message, polled.operation) for polled in partition.polled for offset, message in polled.messages]
    for offset, message, operation in told:
        other, witness = at.setdefault(offset, (message, operation))
        if other != message:
            text = f"offset {offset} holds {message} ({operation.lines}) and {other} ({witness.lines})"
            partition.tell("inconsistent-offset", text, operation, witness)
        place, witness = where.setdefault(message, (offset, operation))
        if place != offset:
            text = f"{message} stands at offset {offset} ({operation.lines}) and at {place} ({witness.lines})"
            partition.tell("duplicated", text, operation, witness)


def _check_origin(partition: Partition) -> None:
    """What is read was sent before, and not aborted."""
    for polled in partition.polled:
        operation = polled.operation
        for offset, message in polled.messages:
            sent = partition.sent.get(message)
            if sent is None:
                partition.tell(
                    "unwritten", f"{message} at offset {offset} ({operation.lines}) was never sent", operation
                )
            elif sent.operation.outcome == "fail":
                text = f"{message} at offset {offset} was read ({operation.lines}), but its {_where(sent)} was aborted"
                partition.tell("aborted-read", text, operation, sent.operation)
            elif operation.precedes(sent.operation):
                text = f"{message} was read ({operation.lines}) before its {_where(sent)} began"
                partition.tell("read-before-sent", text, operation, sent.operation)


def _check_order_of_polls(partition: Partition) -> None:
    """Offsets rise within an answer, and from one answer to the next while the process keeps its position."""
    last: dict[str, tuple[int, Operation]] = {}
    seen: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for polled in partition.polled:
        operation = polled.operation
        process = canonical(operation.process)
        if not polled.continues:
            seen[process].clear()
        position, before = last.get(process, (-1, operation)) if polled.continues else (-1, operation)
        for offset, message in polled.messages:
            if offset <= position:
                name = "redelivered" if (offset, message) in seen[process] else "reordered"
                verb = "again, " if name == "redelivered" else ""
                text = (
                    f"process {operation.process} read {message} at {offset} {verb}after {position} ({operation.lines})"
                )
                partition.tell(name, text, operation, before)
            seen[process].add((offset, message))
            position, before = max(position, offset), operation
        if polled.messages and not polled.drained:
            last[process] = (position, operation)


def _check_order_of_sends(partition: Partition) -> None:
    """A message that was acknowledged before another was sent stands before it."""
    sent = [each for each in _placed(partition) if each.operation.outcome != "fail"]
    events = sorted(
        [(each.operation.invoked, 0, place) for place, each in enumerate(sent)]
        + [(each.operation.completed, 1, place) for place, each in enumerate(sent)]
    )
    highest: Sent | None = None
    for _, completes, place in events:
        each = sent[place]
        assert each.offset is not None
        if completes:
            if highest is None or highest.offset is None or each.offset > highest.offset:
                highest = each
        elif highest is not None and highest.offset is not None and each.offset < highest.offset:
            text = (
                f"{each.message} stands at offset {each.offset}, before {highest.message} at {highest.offset}, whose "
                f"{_where(highest)} was acknowledged before {each.message} was sent ({each.operation.lines})"
            )
            if each.operation is not highest.operation:
                partition.tell("reordered", text, each.operation, highest.operation)


def _placed(partition: Partition) -> list[Sent]:
    """Messages whose offset is known, from their acknowledgement or from who read them."""
    read = {message: offset for polled in partition.polled for offset, message in polled.messages}
    placed = (
        Sent(each.operation, each.message, each.offset if each.offset is not None else read.get(each.message))
        for each in partition.sent.values()
    )
    return [each for each in placed if each.offset is not None]


def _check_lost(partition: Partition) -> None:
    """What was acknowledged is found by whoever reads past its place, or drains the partition after it."""
    read = {message for polled in partition.polled for _, message in polled.messages}
    acknowledged = [each for each in partition.sent.values() if each.operation.outcome == "ok"]
    by_offset = sorted((each.offset, each.message) for each in acknowledged if each.offset is not None)
    offsets = [offset for offset, _ in by_offset]
    told: set[str] = set()
    last: dict[str, int] = {}
    for polled in partition.polled:
        operation = polled.operation
        process = canonical(operation.process)
        seen = {message for _, message in polled.messages}
        if polled.drained:
            for each in acknowledged:
                if each.operation.precedes(operation) and each.message not in seen and each.message not in told:
                    told.add(each.message)
                    text = f"{each.message} ({_where(each)}), acknowledged, is missing from all ({operation.lines})"
                    partition.tell("lost", text, operation, each.operation)
        if not polled.messages:
            continue
        top = max(offset for offset, _ in polled.messages)
        start = last.get(process, -1) if polled.continues else min(offset for offset, _ in polled.messages) - 1
        for place in range(bisect_right(offsets, start), bisect_right(offsets, top)):
            offset, message = by_offset[place]
            if message not in seen and message not in told:
                told.add(message)
                name = "skipped" if message in read else "lost"
                stretch = f"from offset {start + 1} to {top} ({operation.lines})"
                text = f"process {operation.process} read {stretch} without {message} at {offset}"
                partition.tell(name, text, operation, partition.sent[message].operation)
        if not polled.drained:
            last[process] = top


def _where(sent: Sent) -> str:
    return f"send in {sent.operation.lines}"


def _label(operation: Operation) -> str:
    value = operation.output if operation.outcome == "ok" and operation.output is not None else operation.input
    return f"{operation.f} {'' if operation.key is None else operation.key} {canonical(value)}"
