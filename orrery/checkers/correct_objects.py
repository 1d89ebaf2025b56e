"""Objects that are correct by construction, and histories of clients that use them at the same time.

A judge must say yes to all of these. Each operation takes effect at one moment between its invocation and its
completion; some answers are lost, before or after the effect; some operations fail and have none. Judges are tested
with these, and so is whatever records histories.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeAlias

from orrery.checkers.history import History, Invocation, Json, Key, Recorder, pair, parse

Ask: TypeAlias = tuple[str, Key, Json]
"""f, key, value of an invocation."""


class CorrectObject(Protocol):
    """An object with the operations of one model."""

    def ask(self, process: int, random: Random) -> Ask:
        """What a client does next."""
        ...

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """Does it, at once, and gives the answer."""
        ...


@dataclass(slots=True)
class Register:
    """Registers with unique values, so that each value tells which write it is from."""

    keys: int = 2
    with_cas: bool = True
    values: dict[Key, Json] = field(default_factory=dict)
    issued: int = 0

    def ask(self, process: int, random: Random) -> Ask:
        """A read, a write or a cas."""
        key = f"k{random.randrange(self.keys)}"
        kind = random.choice(("read", "write", "cas") if self.with_cas else ("read", "write"))
        if kind == "read":
            return "read", key, None
        self.issued += 1
        # A guess at the present value: mostly right when nobody else writes.
        return (kind, key, self.issued) if kind == "write" else (kind, key, [self.values.get(key), self.issued])

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """The register's semantics; a cas that finds another value answers false."""
        if f == "read":
            return self.values.get(key)
        if f == "write":
            self.values[key] = value
            return value
        assert isinstance(value, list)
        if self.values.get(key) != value[0]:
            return False
        self.values[key] = value[1]
        return value


@dataclass(slots=True)
class Store:
    """A key-value store with versions, revisions, transactions and watches."""

    keys: int = 3
    with_txn: bool = True
    with_watch: bool = False
    revision: int = 1
    issued: int = 0
    cells: dict[Key, dict[str, Json]] = field(default_factory=dict)
    events: list[dict[str, Json]] = field(default_factory=list)

    def ask(self, process: int, random: Random) -> Ask:
        """One of everything."""
        key = f"k{random.randrange(self.keys)}"
        kinds = ["put", "get", "get", "delete", "cas"] + ["txn"] * self.with_txn + ["watch"] * self.with_watch
        kind = random.choice(kinds)
        if kind in ("get", "delete"):
            return kind, key, None
        if kind == "watch":
            request: dict[str, Json] = {"from": random.randrange(1, self.revision + 1)}
            if random.random() < 0.5:
                request |= random.choice(({"key": key}, {"prefix": "k"}))
            return kind, None, request
        self.issued += 1
        if kind == "put":
            return kind, key, self.issued
        present = self.cells.get(key, {})
        if kind == "cas":
            return kind, key, [present.get("value"), self.issued]
        other = f"k{random.randrange(self.keys)}"
        guard: list[Json] = [key, "mod_revision", random.choice("=<>"), present.get("mod_revision", 0)]
        compare: list[Json] = [guard]
        then: list[Json] = [["put", key, self.issued], ["get", other]]
        return kind, None, {"compare": compare, "then": then, "else": [["get", key]]}

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """etcd's semantics."""
        if f == "get":
            return self._get(key)
        if f == "watch":
            assert isinstance(value, dict)
            return self._watch(value)
        self.revision += 1
        if f == "put":
            self._put(key, value)
            return {"revision": self.revision}
        if f == "delete":
            deleted = self._delete(key)
            self.revision -= 1 - deleted
            return {"deleted": deleted, "revision": self.revision}
        if f == "cas":
            assert isinstance(value, list)
            succeeded = self.cells.get(key, {}).get("value") == value[0]
            if succeeded:
                self._put(key, value[1])
            self.revision -= not succeeded
            return {"succeeded": succeeded, "revision": self.revision}
        assert isinstance(value, dict)
        return self._txn(value)

    def _txn(self, request: dict[str, Json]) -> Json:
        guards, then, otherwise = request["compare"], request["then"], request["else"]
        assert isinstance(guards, list)
        assert isinstance(then, list)
        assert isinstance(otherwise, list)
        succeeded = True
        for guard in guards:
            assert isinstance(guard, list)
            assert isinstance(guard[0], str)
            held, operand = self.cells.get(guard[0], {}).get("mod_revision", 0), guard[3]
            assert isinstance(held, int)
            assert isinstance(operand, int)
            succeeded &= {"=": held == operand, "<": held < operand, ">": held > operand}[str(guard[2])]
        results: list[Json] = []
        for step in then if succeeded else otherwise:
            assert isinstance(step, list)
            assert isinstance(step[1], str)
            if step[0] == "put":
                self._put(step[1], step[2])
                results.append(None)
            else:
                results.append(self._get(step[1], header=False))
        self.revision -= not succeeded
        return {"succeeded": succeeded, "revision": self.revision, "results": results}

    def _get(self, key: Key, *, header: bool = True) -> Json:
        if key not in self.cells:
            return None
        return self.cells[key] | ({"revision": self.revision} if header else {})

    def _put(self, key: Key, value: Json) -> None:
        before = self.cells.get(key, {"create_revision": self.revision, "version": 0})
        version = before["version"]
        assert isinstance(version, int)
        self.cells[key] = before | {"value": value, "version": version + 1, "mod_revision": self.revision}
        self.events.append({"type": "put", "key": key, "value": value, "revision": self.revision})

    def _delete(self, key: Key) -> int:
        if self.cells.pop(key, None) is None:
            return 0
        self.events.append({"type": "delete", "key": key, "value": None, "revision": self.revision})
        return 1

    def _watch(self, request: dict[str, Json]) -> Json:
        start, key, prefix = request["from"], request.get("key"), request.get("prefix", "")
        assert isinstance(start, int)
        assert isinstance(prefix, str)
        told: list[Json] = []
        for event in self.events:
            revision = event["revision"]
            assert isinstance(revision, int)
            if revision >= start and key in (None, event["key"]) and str(event["key"]).startswith(prefix):
                told.append(event)
        return {"events": told, "revision": self.revision}


@dataclass(slots=True)
class Lists:
    """Lists under atomic transactions."""

    keys: int = 3
    issued: int = 0
    lists: dict[str, list[Json]] = field(default_factory=dict)

    def ask(self, process: int, random: Random) -> Ask:
        """One to four reads and appends."""
        steps: list[Json] = []
        for _ in range(random.randrange(1, 5)):
            key = f"k{random.randrange(self.keys)}"
            if random.random() < 0.5:
                steps.append(["r", key, None])
            else:
                self.issued += 1
                steps.append(["append", key, self.issued])
        return "txn", None, steps

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """All of it at once."""
        assert isinstance(value, list)
        done: list[Json] = []
        for step in value:
            assert isinstance(step, list)
            assert isinstance(step[1], str)
            elements = self.lists.setdefault(step[1], [])
            if step[0] == "append":
                elements.append(step[2])
                done.append(step)
            else:
                done.append(["r", step[1], list(elements)])
        return done


@dataclass(slots=True)
class Broker:
    """Partitions with offsets; each process reads on where it was."""

    partitions: int = 2
    issued: int = 0
    logs: dict[Key, list[Json]] = field(default_factory=dict)
    positions: dict[tuple[int, Key], int] = field(default_factory=dict)

    def ask(self, process: int, random: Random) -> Ask:
        """A send, a poll or a drain. The poll's value says whose position it is; judges do not look at it."""
        key = f"p{random.randrange(self.partitions)}"
        kind = random.choice(("send", "send", "poll", "drain"))
        if kind == "send":
            self.issued += 1
            return kind, key, self.issued
        return kind, key, process if kind == "poll" else None

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """Appends, or reads."""
        log = self.logs.setdefault(key, [])
        if f == "send":
            log.append(value)
            return [len(log) - 1, value]
        if f == "drain":
            return [[offset, message] for offset, message in enumerate(log)]
        assert isinstance(value, int)
        start = self.positions.get((value, key), 0)
        self.positions[value, key] = len(log)
        return [[offset, log[offset]] for offset in range(start, len(log))]


@dataclass(slots=True)
class LockService:
    """Locks with fencing tokens. A lease may run out, and then the token is refused."""

    locks: int = 2
    token: int = 0
    holders: dict[Key, int] = field(default_factory=dict)
    """The token that is good now."""

    def ask(self, process: int, random: Random) -> Ask:
        """Acquires, or uses one of the last tokens given, good or not. Now and then a lease runs out."""
        key = f"l{random.randrange(self.locks)}"
        if random.random() < 0.1:
            self.holders.pop(key, None)
        kind = random.choice(("acquire", "fenced-write", "renew", "release"))
        if kind == "acquire" or not self.token:
            return "acquire", key, None
        return kind, key, max(1, self.token - random.randrange(3))

    def apply(self, f: str, key: Key, value: Json) -> Json:
        """The token; null for an accepted use; false for what is refused."""
        if f == "acquire":
            if key in self.holders:
                return False
            self.token += 1
            self.holders[key] = self.token
            return self.token
        if value is None or self.holders.get(key) != value:
            return False
        if f == "release":
            del self.holders[key]
        return None


@dataclass(slots=True)
class _Client:
    invocation: Invocation
    ask: Ask
    fate: str
    """`ok`, `fail`, or `lost`."""
    applied: bool = False
    answer: Json = None


def make_history(
    subject: CorrectObject,
    random: Random,
    *,
    operations: int = 40,
    processes: int = 4,
    lost: float = 0.08,
    failed: float = 0.08,
    refused: Callable[[str, Json], bool] = lambda f, answer: False,
) -> History:
    """A history of clients that run at the same time. `refused` tells which answers are recorded as `fail`."""
    lines: list[bytes] = []
    recorder = Recorder(lines.append, lambda: len(lines) * 1000)
    clients: dict[int, _Client] = {}
    adrift: list[Ask] = []
    asked = 0
    while asked < operations or clients:
        if adrift and random.random() < 0.2:
            subject.apply(*adrift.pop(random.randrange(len(adrift))))
        process = random.randrange(processes)
        client = clients.get(process)
        if client is None:
            if asked < operations:
                asked += 1
                ask = subject.ask(process, random)
                chance = random.random()
                fate = "lost" if chance < lost else "fail" if chance < lost + failed else "ok"
                clients[process] = _Client(recorder.invoke(process, *ask), ask, fate)
        elif client.fate == "ok" and not client.applied:
            client.applied, client.answer = True, subject.apply(*client.ask)
        else:
            del clients[process]
            if client.fate == "lost":
                recorder.info(client.invocation, error="timed out")
                # A poll that got lost has no effect: the position is the client's, and it does not move by itself.
                if client.ask[0] != "poll" and random.random() < 0.7:
                    adrift.append(client.ask)
            elif client.fate == "fail" or refused(client.ask[0], client.answer):
                recorder.fail(client.invocation, error="refused")
            else:
                recorder.ok(client.invocation, client.answer)
    return pair(parse(lines))
