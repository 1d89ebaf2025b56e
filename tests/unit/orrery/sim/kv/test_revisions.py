"""The judge by revisions accepts what a register may show and nothing else."""

import pytest

from orrery.sim.kv.revisions import NotLinearizable, Operation, check_revisions


def put(value: bytes, begin_s: float, end_s: float | None, revision: int = 0) -> Operation:
    return Operation("c", b"k", begin_s, True, value, end_s, revision)


def read(value: bytes, begin_s: float, end_s: float, revision: int) -> Operation:
    return Operation("c", b"k", begin_s, False, value, end_s, revision)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [read(b"", 0, 1, 0)],
        [put(b"a", 0, 1, 5), read(b"a", 2, 3, 5)],
        [put(b"a", 0, 3, 5), read(b"", 1, 2, 0), read(b"a", 1.5, 2.5, 5)],
        [put(b"lost", 0, None), put(b"a", 1, 2, 6), read(b"lost", 3, 4, 7), read(b"lost", 5, 6, 7)],
        [put(b"a", 0, 9, 8), put(b"b", 1, 2, 7), read(b"b", 3, 4, 7), read(b"a", 5, 6, 8)],
    ],
)
def test_accepts(history: list[Operation]) -> None:
    assert check_revisions(history) == sum(operation.end_s is not None for operation in history)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ([put(b"a", 0, 1, 5), read(b"", 2, 3, 0)], "began after"),
        ([put(b"a", 0, 1, 5), put(b"b", 2, 3, 5)], "elsewhere"),
        ([put(b"a", 0, 1, 5), put(b"b", 2, 3, 4)], "began after"),
        ([put(b"a", 0, 1, 5), put(b"b", 0, 1, 6), read(b"b", 2, 3, 6), read(b"a", 4, 5, 5)], "began after"),
        ([put(b"a", 5, 6, 5), read(b"a", 0, 1, 5)], "nobody had written"),
        ([read(b"ghost", 0, 1, 5)], "nobody had written"),
        ([put(b"a", 0, 1, 5), read(b"a", 2, 3, 6)], "another revision"),
        ([put(b"a", 0, 1, 0)], "no revision"),
    ],
)
def test_refuses(history: list[Operation], reason: str) -> None:
    with pytest.raises(NotLinearizable, match=reason):
        check_revisions(history)


def test_keys_are_judged_apart() -> None:
    one = put(b"a", 0, 1, 5)
    other = read(b"", 2, 3, 0)
    other.key = b"other"
    assert check_revisions([one, other]) == 2
