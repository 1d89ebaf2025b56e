"""A register, with and without compare-and-set.

`read` answers the value, `write` carries it, `cas` carries `[old, new]`. A `cas` that is `ok` has swapped; `ok` with
the result `false` has looked and found another value; one that is `fail` never happened and tells nothing. Before the
first write the register holds null.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from orrery.checkers.history import History, Operation, canonical
from orrery.checkers.machine import ANYTHING, Call, Item, Machine, ModelMismatch, Problem, State, Token

_NOTHING = "null"
UNSEEN = "some value that nobody saw"
"""No JSON, so that no history holds it."""


class RegisterMachine:
    """States are values as canonical JSON. Calls: (read, v), (write, v), (cas, old, new), (differs, old)."""

    def initial(self) -> State:
        """Null."""
        return _NOTHING

    def step(self, state: State, call: Call) -> Sequence[State]:
        """The register's semantics."""
        kind = call[0]
        if kind == "write":
            return (call[1],)
        if kind == "read":
            return (state,) if state == call[1] else ()
        if kind == "cas":
            return (call[2],) if state == call[1] else ()
        return (state,) if state != call[1] else ()

    def observes(self, call: Call) -> Iterable[Token]:
        """The value read or compared with; any other value, too, where the comparison failed."""
        if call[0] == "write":
            return ()
        own = (0, str(call[1]))
        return (ANYTHING, own) if call[0] == "differs" else (own,)

    def writes(self, call: Call) -> Token | None:
        """The value written."""
        return (0, str(call[-1])) if call[0] in ("write", "cas") else None

    def requires(self, call: Call) -> Iterable[Token]:
        """The value read, or compared with success."""
        return ((0, str(call[1])),) if call[0] in ("read", "cas") and call[1] != _NOTHING else ()

    def may_write(self, call: Call) -> Iterable[Token]:
        """The value written."""
        return ((0, str(call[-1])),) if call[0] in ("write", "cas") else ()

    def taken(self, call: Call, written: Token) -> Call | None:
        """A write is a write; a cas that wrote has found what it looked for."""
        return call

    def unseen(self, call: Call, named: AbstractSet[Token]) -> Call:
        """The call, with a value that nobody looks for replaced."""
        return call if (0, str(call[-1])) in named else (*call[:-1], UNSEEN)

    def relaxations(self, items: Sequence[Item]) -> Sequence[tuple[tuple[Item, ...], Machine]]:
        """None: an answer tells the value and nothing more."""
        return ()

    def describe(self, call: Call) -> str:
        """In words."""
        kind, *values = (str(part) for part in call)
        if kind == "cas":
            return f"cas {values[0]} to {values[1]}"
        return f"cas from {values[0]} refused" if kind == "differs" else f"{kind} {values[0]}"

    def describe_state(self, state: State) -> str:
        """The value."""
        return str(state)


def register_problems(history: History, *, with_cas: bool) -> list[Problem]:
    """A problem for each key. Raises ModelMismatch."""
    by_key: dict[str, list[Item]] = defaultdict(list)
    machine = RegisterMachine()
    for operation in history.operations:
        call = _call(operation, with_cas=with_cas)
        if call is not None:
            by_key[canonical(operation.key)].append(Item(operation, call, operation.outcome == "info"))
    return [Problem(_name(key), tuple(items), machine) for key, items in by_key.items()]


def _name(key: str) -> str:
    return "the register" if key == _NOTHING else f"key {key}"


def _call(operation: Operation, *, with_cas: bool) -> Call | None:
    if operation.f == "read":
        return ("read", canonical(operation.output)) if operation.outcome == "ok" else None
    if operation.f == "write":
        return ("write", canonical(operation.input)) if operation.outcome != "fail" else None
    if operation.f != "cas":
        raise ModelMismatch(operation, f"a register knows read, write{' and cas' if with_cas else ''}")
    if not with_cas:
        raise ModelMismatch(operation, "this is a plain register; judge with --model cas-register")
    if not isinstance(operation.input, list) or len(operation.input) != 2:
        raise ModelMismatch(operation, "cas carries [old, new]")
    old, new = (canonical(part) for part in operation.input)
    if operation.outcome == "ok" and operation.output is False:
        return ("differs", old)
    return ("cas", old, new) if operation.outcome != "fail" else None
