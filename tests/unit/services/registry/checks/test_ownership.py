from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from xxhash import xxh3_64_intdigest

from services.registry.checks.ownership import Ownership, check_key

NAMES = ["a", "b", "c", "d", "e"]
KEYS = [check_key(f"node-{number % 7}", f"service:{number}") for number in range(40)]


def owner_of(key: str, processes: set[str]) -> str:
    """The definition, computed afresh."""
    return max(
        ((xxh3_64_intdigest(key.encode(), xxh3_64_intdigest(name.encode())), name) for name in processes),
        default=(-1, ""),
    )[1]


class Machine(RuleBasedStateMachine):
    """Every process of the model, each with its own view; the views must agree with the definition."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: set[str] = set()
        self.keys: set[str] = set()
        self.views = {name: Ownership(name) for name in NAMES}

    @rule(processes=st.sets(st.sampled_from(NAMES)))
    def change(self, processes: set[str]) -> None:
        before = {key: owner_of(key, self.processes) for key in self.keys}
        after = {key: owner_of(key, processes) for key in self.keys}
        for name, view in self.views.items():
            moves = view.change(sorted(processes))
            assert set(moves.gained) == {key for key in self.keys if before[key] != name == after[key]}
            assert set(moves.lost) == {key for key in self.keys if before[key] == name != after[key]}
        # Only what must move does.
        for key in self.keys:
            assert before[key] == after[key] or before[key] not in processes or after[key] not in self.processes
        self.processes = processes

    @rule(key=st.sampled_from(KEYS))
    def add(self, key: str) -> None:
        self.keys.add(key)
        for name, view in self.views.items():
            assert view.add(key) is (owner_of(key, self.processes) == name)

    @rule(key=st.sampled_from(KEYS))
    def discard(self, key: str) -> None:
        for name, view in self.views.items():
            assert view.discard(key) is (key in self.keys and owner_of(key, self.processes) == name)
        self.keys.discard(key)

    @invariant()
    def each_check_has_the_owner_that_the_definition_names(self) -> None:
        for name, view in self.views.items():
            assert set(view) == {key for key in self.keys if owner_of(key, self.processes) == name}
            assert len(view) == len(set(view))
            assert set(view.known()) == self.keys
            for key in self.keys:
                assert view.owner(key) == owner_of(key, self.processes)
                assert (key in view) is (view.owner(key) == name)


TestOwnership = Machine.TestCase
TestOwnership.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


@given(st.text(max_size=10), st.text(max_size=10))
def test_without_processes_nobody_owns(node: str, check: str) -> None:
    ownership = Ownership("me")
    assert not ownership.add(check_key(node, check))
    assert ownership.owner(check_key(node, check)) == ""


def test_shares_are_even() -> None:
    ownership = Ownership("a")
    ownership.change(["a", "b", "c"])
    keys = [check_key(f"n{number % 50}", f"service:web-{number}") for number in range(9_000)]
    for key in keys:
        ownership.add(key)
    shares = Counter(ownership.owner(key) for key in keys)
    assert all(2_700 < share < 3_300 for share in shares.values())
