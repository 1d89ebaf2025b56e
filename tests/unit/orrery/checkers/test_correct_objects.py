import itertools
from random import Random

from orrery.checkers.correct_objects import Register, Store, make_history
from orrery.checkers.history import canonical


def test_a_seed_makes_the_same_history_again() -> None:
    one, other = (make_history(Store(), Random(7)) for _ in range(2))
    assert one.operations == other.operations
    assert one.operations != make_history(Store(), Random(8)).operations


def test_histories_hold_what_makes_judging_hard() -> None:
    operations = make_history(Register(), Random(1), operations=300, processes=5).operations
    assert {operation.outcome for operation in operations} == {"ok", "fail", "info"}
    assert any(one.completed > other.invoked for one, other in itertools.pairwise(operations))
    assert any(operation.output is False for operation in operations)


def test_a_store_tells_versions_and_revisions_as_etcd_does() -> None:
    store = Store()
    assert store.apply("put", "a", 1) == {"revision": 2}
    assert store.apply("put", "b", 1) == {"revision": 3}
    assert store.apply("put", "a", 2) == {"revision": 4}
    seen = {"value": 2, "version": 2, "create_revision": 2, "mod_revision": 4, "revision": 4}
    assert canonical(store.apply("get", "a", None)) == canonical({**seen})
    assert store.apply("delete", "a", None) == {"deleted": 1, "revision": 5}
    assert store.apply("delete", "a", None) == {"deleted": 0, "revision": 5}
    assert store.apply("get", "a", None) is None
