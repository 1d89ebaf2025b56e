from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.eligibility import Reach, Standing, choose
from cluster.discovery.endpoint import Endpoint, EndpointHealth
from cluster.discovery.outliers import Record

WELL, ILL = EndpointHealth.HEALTHY, EndpointHealth.UNHEALTHY
READY, NEW, LOST, FAILED = Reach.READY, Reach.NEW, Reach.LOST, Reach.FAILED


def standing(
    name: str, health: EndpointHealth = WELL, reach: Reach = READY, *, ejected: bool = False, weight: int = 1
) -> Standing:
    record = Record()
    record.ejected_until_s = 9.0 if ejected else None
    made = Standing(Endpoint(f"{name}:1", weight, health=health), record)
    made.reach = reach
    return made


def names(targets: list[Standing], *, keeps_keys: bool = False, panic_share: float = 0.5) -> str:
    choice = choose(targets, panic_share=panic_share, keeps_keys=keeps_keys)
    assert [target for target in targets if target.is_usable] == choice.usable
    return "".join(target.address[0] for target in choice.usable) + "?" * choice.is_pending + "!" * choice.is_panicking


def test_the_unhealthy_the_ejected_and_the_weightless_are_left_out() -> None:
    assert names([standing("a"), standing("b", ILL), standing("c")]) == "ac"
    assert names([standing("a"), standing("b", ejected=True), standing("c", EndpointHealth.UNKNOWN)]) == "ac"
    assert names([standing("a", weight=0), standing("b")]) == "b"
    assert names([standing("a", weight=0)]) == "a"


def test_panic_below_the_threshold_and_not_at_it() -> None:
    half = [standing("a"), standing("b"), standing("c", ILL), standing("d", ejected=True)]
    assert names(half) == "ab"
    assert names([*half, standing("e", ILL)]) == "abcde!"
    assert names([*half, standing("e", ILL)], panic_share=0.0) == "ab"
    assert names([standing("a", ILL)]) == "a!"


def test_the_connected_first_and_new_ones_only_where_keys_are_kept() -> None:
    mixed = [standing("a"), standing("b", reach=NEW), standing("c", reach=LOST), standing("d", reach=FAILED)]
    assert names(mixed) == "a"
    assert names(mixed, keeps_keys=True) == "ab"


def test_waiting_for_a_connection_that_may_come() -> None:
    assert names([standing("a", reach=NEW), standing("b", reach=FAILED)]) == "?"
    assert names([standing("a", reach=LOST)], keeps_keys=True) == "?"
    assert names([standing("a", reach=FAILED)]) == ""
    assert names([]) == ""


def test_a_bad_one_is_better_than_none() -> None:
    assert names([standing("a", reach=FAILED), standing("b", ejected=True)]) == "b"
    assert names([standing("a", reach=FAILED), standing("b", ILL), standing("c", reach=FAILED)]) == "b"


@given(
    st.lists(
        st.builds(
            standing,
            st.sampled_from("abcdef"),
            st.sampled_from(EndpointHealth),
            st.sampled_from(Reach),
            ejected=st.booleans(),
            weight=st.integers(0, 2),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_whoever_is_connected_is_found(targets: list[Standing], keeps_keys: bool) -> None:
    choice = choose(targets, panic_share=0.5, keeps_keys=keeps_keys)
    is_connected = any(target.reach is READY for target in targets)
    assert not (choice.usable and choice.is_pending)
    if is_connected and not choice.is_pending:
        assert choice.usable
    assert all(target.reach in (READY, NEW) for target in choice.usable)
