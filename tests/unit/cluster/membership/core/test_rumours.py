"""News: the least told first, so many times, and never too many."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.membership.core.rumours import Rumours


def test_the_least_told_goes_first_and_the_newest_among_them() -> None:
    rumours = Rumours(10)
    rumours.put("a", b"a" * 10)
    rumours.put("b", b"b" * 10)
    assert rumours.take(10, 5) == [b"b" * 10]
    assert rumours.take(10, 5) == [b"a" * 10]
    rumours.put("c", b"c" * 10)
    assert rumours.take(20, 5) == [b"c" * 10, b"a" * 10]


def test_what_does_not_fit_makes_way_for_what_does() -> None:
    rumours = Rumours(10)
    rumours.put("small", b"s" * 10)
    rumours.put("large", b"l" * 100)
    assert rumours.take(50, 5) == [b"s" * 10]
    assert rumours.take(110, 5) == [b"l" * 100, b"s" * 10]


def test_each_is_told_so_many_times() -> None:
    rumours = Rumours(10)
    rumours.put("a", b"a" * 10)
    assert [len(rumours.take(100, 3)) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert "a" not in rumours
    assert len(rumours) == 0


def test_something_newer_of_the_same_name_replaces_it() -> None:
    rumours = Rumours(10)
    rumours.put("a", b"old-------")
    rumours.take(100, 2)
    rumours.put("a", b"new-------")
    assert len(rumours) == 1
    assert [rumours.take(100, 2) for _ in range(3)] == [[b"new-------"], [b"new-------"], []]


def test_one_can_be_left_out_and_be_forgotten() -> None:
    rumours = Rumours(10)
    rumours.put("a", b"a" * 10)
    rumours.put("b", b"b" * 10)
    assert rumours.take(100, 5, but="b") == [b"a" * 10]
    rumours.discard("b")
    rumours.discard("unknown")
    assert rumours.take(100, 5) == [b"a" * 10]


def test_above_the_limit_the_most_told_makes_room() -> None:
    rumours = Rumours(2)
    assert rumours.put("a", b"a" * 10)
    rumours.take(10, 5)
    assert rumours.put("b", b"b" * 10)
    assert not rumours.put("c", b"c" * 10)
    assert "a" not in rumours
    assert len(rumours) == 2


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abcdefgh"), st.integers(8, 40)),
            st.tuples(st.just("take"), st.sampled_from("abcdefgh"), st.integers(0, 120)),
            st.tuples(st.just("discard"), st.sampled_from("abcdefgh"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_against_a_model(actions: list[tuple[str, str, int]]) -> None:
    rumours, told = Rumours(5), dict[str, tuple[bytes, int]]()
    for action, name, number in actions:
        if action == "put":
            encoded = name.encode() * number
            full = name not in told and len(told) == 5
            assert rumours.put(name, encoded) is not full
            if full:
                most = max(times for _, times in told.values())
                gone = [other for other in told if other not in rumours]
                assert len(gone) == 1
                assert told.pop(gone[0])[1] == most
            told[name] = (encoded, 0)
        elif action == "discard":
            rumours.discard(name)
            told.pop(name, None)
        else:
            pieces = rumours.take(number, 4, but=name)
            assert sum(map(len, pieces)) <= number
            counts = []
            for piece in pieces:
                other = chr(piece[0])
                assert other != name
                encoded, times = told[other]
                assert encoded == piece
                counts.append(times)
                told[other] = (encoded, times + 1)
                if times + 1 == 4:
                    del told[other]
            assert counts == sorted(counts)
        assert len(rumours) == len(told)
        assert all(other in rumours for other in told)
