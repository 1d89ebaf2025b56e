"""The session table against a plain model: a command is admitted once, and the table travels in snapshots unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.replica.sessions import SessionTable


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Commands as a real member numbers them, delivered in any order and repeatedly."""
    sent = []
    for origin in range(1, 3):
        for incarnation in range(1, draw(st.integers(1, 3)) + 1):
            done: set[int] = set()
            for sequence in range(1, draw(st.integers(0, 6)) + 1):
                lowest = min(set(range(1, sequence + 1)) - done)
                sent.append((origin, incarnation, sequence, lowest))
                if draw(st.booleans()):
                    done.add(draw(st.integers(1, sequence)))
    if not sent:
        return []
    return draw(st.lists(st.sampled_from(sent), max_size=40))


@given(deliveries(), st.integers(0, 40))
def test_admits_at_most_once_also_across_a_snapshot(
    commands: list[tuple[int, int, int, int]], snapshot_at: int
) -> None:
    table = SessionTable()
    admitted: set[tuple[int, int, int]] = set()
    newest: dict[int, int] = {}
    lowest_seen: dict[tuple[int, int], int] = {}
    for position, (origin, incarnation, sequence, lowest) in enumerate(commands):
        if position == snapshot_at:
            copy = SessionTable.decode(table.encode())
            assert copy.encode() == table.encode()
            table = copy
        late = incarnation < newest.get(origin, 0)
        if not late:
            newest[origin] = incarnation
            key = (origin, incarnation)
            lowest_seen[key] = max(lowest_seen.get(key, 0), lowest)
        expected = (
            not late
            and (origin, incarnation, sequence) not in admitted
            and sequence >= lowest_seen[origin, incarnation]
        )
        assert table.admit(origin, incarnation, sequence, lowest) == expected
        if expected:
            admitted.add((origin, incarnation, sequence))
            assert table.applied(origin, incarnation, sequence)


@given(st.binary(max_size=100))
def test_other_bytes_are_refused_with_value_error(data: bytes) -> None:
    try:
        SessionTable.decode(data)
    except ValueError:
        pass


def test_stays_small() -> None:
    table = SessionTable()
    for sequence in range(1, 10_000):
        assert table.admit(1, 1, sequence, max(1, sequence - 10))
    assert len(table.encode()) < 200
