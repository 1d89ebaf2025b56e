"""Histories: what clients asked and were told, one JSON object a line, in the shape of Jepsen's.

Rules that every judge relies on:

1. The order of the lines is the order of the events. `time` is for pictures: clocks of several hosts disagree.
2. An invocation is written before the request leaves, a completion after its answer came. So a line that is missing
   at the end is a completion that nobody saw, never an effect that nobody asked for.
3. `ok` happened between its two lines. `fail` never happened and never will. `info`, or no completion at all, may
   have taken effect at any time after the invocation, or never (DESIGN, sections 3 and 8).
4. A process has one operation open at a time. After an `info` it may go on; that operation stays open for ever.

Reference: jepsen.history, https://github.com/jepsen-io/history.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import msgspec

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Key: TypeAlias = str | int | None
Process: TypeAlias = str | int
Outcome: TypeAlias = Literal["ok", "fail", "info"]
EventType: TypeAlias = Literal["invoke", "ok", "fail", "info"]

NEVER = sys.maxsize
"""The line of a completion that did not come, or that told nothing: later than every other."""
NEMESIS = "nemesis"
"""The process whose lines say what was broken. They are no operations of the system and are passed over."""
_TYPES: frozenset[str] = frozenset(get_args(EventType))
_FIELDS = frozenset({"process", "type", "f", "key", "value", "time", "index", "error"})


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What a reader accepts. A file comes from outside, and a broken one must not take the machine with it."""

    line_bytes_max: int = 1 << 20
    """The longest line, its end included."""
    file_bytes_max: int = 1 << 30
    """All lines together."""
    events_max: int = 2_000_000
    """Lines that hold an event."""
    depth_max: int = 12
    """Lists and objects within each other in `value`."""


class HistoryUnreadable(ValueError):
    """A history that cannot be judged because of its form: `line` (from 1) is where, `problem` is what."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    line: int
    """From 1; the order of events."""
    process: Process
    type: EventType
    f: str
    """The operation's name: `read`, `put`, `txn`."""
    key: Key
    value: Json
    time_ns: int
    """Of whatever clock the recorder has; 0 when the line has none."""
    error: Json = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An invocation and what became of it."""

    number: int
    """From 0, in the order of invocations; unique in a history."""
    process: Process
    f: str
    key: Key
    input: Json
    """The invocation's value."""
    output: Json
    """The completion's value; None when there is none."""
    outcome: Outcome
    invoked: int
    """The line of the invocation."""
    completed: int
    """The line of the completion; NEVER for `info`, since its effect may come any time later."""
    invoked_ns: int = 0
    completed_ns: int = 0

    def precedes(self, other: "Operation") -> bool:
        """Whether this one was over before the other began."""
        return self.completed < other.invoked

    @property
    def lines(self) -> str:
        """Where it stands: `lines 3-7`, or `line 3, no answer`."""
        return (
            f"line {self.invoked}, no answer" if self.completed == NEVER else f"lines {self.invoked}-{self.completed}"
        )


@dataclass(frozen=True, slots=True)
class History:
    """The operations of a history, in the order of their invocations, failed and open ones included."""

    operations: tuple[Operation, ...]
    name: str = "history"

    def __len__(self) -> int:
        return len(self.operations)


def canonical(value: Json) -> str:
    """A value as JSON with sorted keys: equal text is equal value (Python holds 1, 1.0 and True for the same)."""
    return msgspec.json.encode(value, order="sorted").decode()


def read_history(path: Path, limits: HistoryLimits | None = None) -> History:
    """Reads and pairs a file. Raises HistoryUnreadable, and OSError when there is no such file."""
    limits = limits or HistoryLimits()
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(limits.line_bytes_max + 1), b"")
        return pair(parse(lines, limits), path.name)


def parse(lines: Iterable[bytes], limits: HistoryLimits | None = None) -> Iterator[Event]:
    """The events of lines. Empty lines are passed over, and counted. Raises HistoryUnreadable."""
    limits = limits or HistoryLimits()
    total_bytes = events = 0
    last_index = -1
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(lines, 1):
        total_bytes += len(line)
        if len(line) > limits.line_bytes_max:
            raise HistoryUnreadable(number, f"longer than {limits.line_bytes_max} bytes")
        if total_bytes > limits.file_bytes_max:
            raise HistoryUnreadable(number, f"the history is larger than {limits.file_bytes_max} bytes")
        if not line.strip():
            continue
        events += 1
        if events > limits.events_max:
            raise HistoryUnreadable(number, f"more than {limits.events_max} events")
        try:
            fields: object = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HistoryUnreadable(number, f"not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise HistoryUnreadable(number, "not a JSON object")
        index = fields.get("index")
        if index is not None:
            if type(index) is not int or index <= last_index:
                raise HistoryUnreadable(number, f"index {index!r} is not an integer above {last_index}, the one before")
            last_index = index
        yield _event(number, cast("dict[str, Json]", fields), limits.depth_max)


def _event(line: int, fields: dict[str, Json], depth_max: int) -> Event:
    unknown = fields.keys() - _FIELDS
    if unknown:
        raise HistoryUnreadable(line, f"unknown field {min(unknown)!r}; known are {', '.join(sorted(_FIELDS))}")
    process, kind, f = fields.get("process"), fields.get("type"), fields.get("f")
    key, time_ns = fields.get("key"), fields.get("time", 0)
    if type(process) is not int and type(process) is not str:
        raise HistoryUnreadable(line, "process must be an integer or a string")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise HistoryUnreadable(line, f"type must be invoke, ok, fail or info, not {kind!r}")
    if not isinstance(f, str) or not f:
        raise HistoryUnreadable(line, "f must be the operation's name")
    if key is not None and type(key) is not int and type(key) is not str:
        raise HistoryUnreadable(line, "key must be an integer or a string")
    if type(time_ns) is not int:
        raise HistoryUnreadable(line, "time must be an integer, in nanoseconds")
    value = fields.get("value")
    if _deeper_than(value, depth_max):
        raise HistoryUnreadable(line, f"value is nested deeper than {depth_max}")
    return Event(line, process, cast("EventType", kind), f, key, value, time_ns, fields.get("error"))


def _deeper_than(value: Json, depth: int) -> bool:
    if isinstance(value, list):
        return depth == 0 or any(_deeper_than(part, depth - 1) for part in value)
    if isinstance(value, dict):
        return depth == 0 or any(_deeper_than(part, depth - 1) for part in value.values())
    return False


def pair(events: Iterable[Event], name: str = "history") -> History:
    """Joins invocations with their completions. Raises HistoryUnreadable where they do not fit."""
    open_operations: dict[Process, tuple[int, Event]] = {}
    operations: list[Operation] = []
    for event in events:
        if event.process == NEMESIS:
            continue
        if event.type == "invoke":
            if event.process in open_operations:
                line = open_operations[event.process][1].line
                raise HistoryUnreadable(event.line, f"process {event.process!r} has its operation of line {line} open")
            open_operations[event.process] = (len(operations), event)
            operations.append(_open(len(operations), event))
            continue
        if event.process not in open_operations:
            raise HistoryUnreadable(event.line, f"{event.type} of process {event.process!r}, which has nothing open")
        number, invocation = open_operations.pop(event.process)
        if (event.f, event.key) != (invocation.f, invocation.key) and not (
            event.key is None and event.f == invocation.f
        ):
            asked = f"{invocation.f} of key {invocation.key!r} in line {invocation.line}"
            raise HistoryUnreadable(event.line, f"{event.f} of key {event.key!r} completes {asked}")
        operations[number] = _closed(operations[number], event)
    return History(tuple(operations), name)


def _open(number: int, event: Event) -> Operation:
    return Operation(
        number,
        event.process,
        event.f,
        event.key,
        event.value,
        None,
        "info",
        event.line,
        NEVER,
        event.time_ns,
        event.time_ns,
    )


def _closed(operation: Operation, event: Event) -> Operation:
    assert event.type != "invoke"
    return Operation(
        operation.number,
        operation.process,
        operation.f,
        operation.key,
        operation.input,
        event.value,
        event.type,
        operation.invoked,
        NEVER if event.type == "info" else event.line,
        operation.invoked_ns,
        event.time_ns,
    )


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a recorder gives for an invocation and wants back with its completion."""

    process: Process
    f: str
    key: Key


class Recorder:
    """Writes a history, line by line, as it happens: call `invoke` before sending, and one of the others after.

    `append` gets each line as bytes and must keep it before it returns; `now_ns` tells the time. Both are handed in, so
    the simulator records into memory on virtual time and the chaos runner into a file.
    """

    def __init__(self, append: Callable[[bytes], object], now_ns: Callable[[], int]) -> None:
        self._append = append
        self._now_ns = now_ns
        self._index = 0
        self._busy: set[Process] = set()

    def invoke(self, process: Process, f: str, key: Key = None, value: Json = None) -> Invocation:
        """The process is about to do something. Raises ValueError when it is still at something else."""
        if process in self._busy:
            raise ValueError(f"process {process!r} has an operation open")
        self._busy.add(process)
        invocation = Invocation(process, f, key)
        self._write(invocation, "invoke", value, None)
        return invocation

    def ok(self, invocation: Invocation, value: Json = None) -> None:
        """It happened, with this result."""
        self._complete(invocation, "ok", value, None)

    def fail(self, invocation: Invocation, value: Json = None, error: Json = None) -> None:
        """It did not happen and never will: only for definite errors."""
        self._complete(invocation, "fail", value, error)

    def info(self, invocation: Invocation, value: Json = None, error: Json = None) -> None:
        """Nobody knows: time-outs, broken connections, and whatever is not surely a failure."""
        self._complete(invocation, "info", value, error)

    def nemesis(self, f: str, value: Json = None) -> None:
        """A note of what is being broken or healed. Judges pass over it."""
        self._write(Invocation(NEMESIS, f, None), "info", value, None)

    def _complete(self, invocation: Invocation, kind: EventType, value: Json, error: Json) -> None:
        if invocation.process not in self._busy:
            raise ValueError(f"process {invocation.process!r} has nothing open")
        self._busy.discard(invocation.process)
        self._write(invocation, kind, value, error)

    def _write(self, invocation: Invocation, kind: EventType, value: Json, error: Json) -> None:
        line: dict[str, Json] = {"index": self._index, "time": self._now_ns(), "process": invocation.process}
        line |= {"type": kind, "f": invocation.f}
        if invocation.key is not None:
            line["key"] = invocation.key
        line["value"] = value
        if error is not None:
            line["error"] = error
        self._append(msgspec.json.encode(line) + b"\n")
        self._index += 1


@contextmanager
def recording(path: Path, now_ns: Callable[[], int]) -> Iterator[Recorder]:
    """A recorder into a new file. Each line is handed to the kernel at once, so a crash of the recorder loses none.

    Raises FileExistsError: a history is evidence and is never written over.
    """
    with path.open("xb", buffering=0) as file:
        yield Recorder(file.write, now_ns)
