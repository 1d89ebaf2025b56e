"""What a judge says: yes, no or unknown; and when no, which smallest part of the history shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orrery.checkers.history import NEVER, Json, Operation

Answer: TypeAlias = Literal["yes", "no", "unknown"]
EXIT_CODES: Mapping[Answer, int] = {"yes": 0, "no": 1, "unknown": 2}


@dataclass(frozen=True, slots=True)
class Limits:
    """When a judge gives up and says unknown."""

    steps_max: int = 20_000_000
    """Steps of the search, all partitions together."""
    seconds_max: float = 120.0
    """Real time, all partitions together; the search for the smallest failing part is not counted."""
    configurations_max: int = 4_000_000
    """Remembered configurations of one partition: about 200 bytes each."""
    shrink_seconds_max: float = 10.0
    """Real time to look for the smallest failing part. What is found by then is shown."""
    anomalies_max: int = 20
    """How many are told. One is enough for a no."""


@dataclass(frozen=True, slots=True)
class Point:
    """An operation's place in a linearization."""

    operation: int
    """Its number."""
    state: str
    """What the object holds after it, in words."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` must come before `target`, because of `label`."""

    source: int
    target: int
    label: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that must not happen, with the operations that show it and no more."""

    name: str
    """The field's term: `not-linearizable`, `G1c`, `lost`."""
    text: str
    """What happened, in words, with the lines of the history."""
    operations: tuple[Operation, ...]
    """The smallest failing part, in the order of invocations."""
    culprits: frozenset[int] = frozenset()
    """Numbers of the operations that cannot be explained."""
    order: tuple[Point, ...] = ()
    """The longest partial linearization."""
    edges: tuple[Edge, ...] = ()
    """The cycle, for judges of dependencies."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """By number of the operation: what it did, in the model's words."""

    def as_json(self) -> dict[str, Json]:
        """For scripts."""
        operations: list[Json] = [_operation_as_json(each, self.labels) for each in self.operations]
        order: list[Json] = [{"operation": point.operation, "state": point.state} for point in self.order]
        edges: list[Json] = [{"source": e.source, "target": e.target, "label": e.label} for e in self.edges]
        culprits: list[Json] = [*sorted(self.culprits)]
        return {
            "name": self.name,
            "text": self.text,
            "operations": operations,
            "culprits": culprits,
            "order": order,
            "edges": edges,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to: could a correct system have given this history?"""

    answer: Answer
    model: str
    summary: str
    """One sentence."""
    operations: int
    """How many were judged."""
    steps: int = 0
    """How much was searched; 0 for judges that do not search."""
    elapsed_s: float = 0.0
    anomalies: tuple[Anomaly, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """For scripts: `orrery check --json`."""
        anomalies: list[Json] = [anomaly.as_json() for anomaly in self.anomalies]
        return {
            "verdict": self.answer,
            "model": self.model,
            "summary": self.summary,
            "operations": self.operations,
            "steps": self.steps,
            "elapsed_s": round(self.elapsed_s, 6),
            "anomalies": anomalies,
        }


def from_anomalies(model: str, anomalies: list[Anomaly], operations: int, good: str, limits: Limits) -> Verdict:
    """The verdict of a judge that does not search: no with the worst first, unknown when there was nothing, yes."""
    if anomalies:
        names = ", ".join(dict.fromkeys(anomaly.name for anomaly in anomalies))
        summary = f"{len(anomalies)} {'anomaly' if len(anomalies) == 1 else 'anomalies'}: {names}"
        return Verdict("no", model, summary, operations, anomalies=tuple(anomalies[: limits.anomalies_max]))
    if not operations:
        return Verdict("unknown", model, "nothing to judge: no operation completed", 0)
    return Verdict("yes", model, good, operations)


def _operation_as_json(operation: Operation, labels: Mapping[int, str]) -> Json:
    return {
        "number": operation.number,
        "process": operation.process,
        "f": operation.f,
        "key": operation.key,
        "value": operation.input,
        "result": operation.output,
        "outcome": operation.outcome,
        "invoked_line": operation.invoked,
        "completed_line": None if operation.completed == NEVER else operation.completed,
        "label": labels.get(operation.number),
    }
