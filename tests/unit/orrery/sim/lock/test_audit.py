import pytest

from orrery.sim.lock.audit import FOR_EVER, Change, Tenure, Unlawful, Write, check, tenures


def put(revision: int, key: bytes = b"") -> Change:
    return Change("a", key or b"a/%d" % revision, revision, revision)


def gone(token: int, revision: int) -> Change:
    return Change("a", b"a/%d" % token, 0, revision)


def test_tenures_follow_each_other() -> None:
    found = tenures([put(1), put(2), put(3), gone(2, 4), gone(1, 5)])["a"]
    assert found == {1: Tenure(1, 1, 5), 3: Tenure(3, 5, FOR_EVER)}


def test_what_is_lawful() -> None:
    changes = [put(1), put(2), gone(1, 5)]
    assert "2 grants and 3 writes" in check(
        changes, [Write("a", 1, 3), Write("a", 1, 4), Write("a", 2, 9)], [("a", 1), ("a", 2)]
    )


@pytest.mark.parametrize(
    ("changes", "writes", "granted"),
    [
        pytest.param([put(1), gone(1, 5)], [Write("a", 1, 5)], [], id="late"),
        pytest.param([put(1), put(2), gone(1, 5)], [Write("a", 2, 4)], [], id="early"),
        pytest.param([put(1)], [Write("a", 9, 4)], [], id="a token that is none"),
        pytest.param([put(1), put(2), gone(2, 3)], [], [("a", 2)], id="granted to one that never was first"),
        pytest.param([], [], [("a", 2)], id="granted from nothing"),
        pytest.param([], [Write("a", 2, 5)], [], id="written without a lock"),
    ],
)
def test_what_is_not(changes: list[Change], writes: list[Write], granted: list[tuple[str, int]]) -> None:
    with pytest.raises(Unlawful):
        check(changes, writes, granted)
