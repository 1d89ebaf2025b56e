"""Who is there, in which order they are probed, and the digest over them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from cluster.membership.core import Member, Status
from cluster.membership.core.roster import Roster
from cluster.membership.core.testing import alive
from cluster.membership.core.types import Details, Update


def details_of(update: Update) -> Details:
    assert update.details is not None
    return update.details


def make(count: int, seed: int = 1, members_max: int = 100) -> Roster:
    own = alive("me")
    source = random.Random(seed)
    roster = Roster(Member("me", Status.ALIVE, 1, details_of(own), 0), members_max, source.randrange)
    for number in range(count):
        update = alive(f"m{number}")
        assert roster.insert(update, details_of(update), 0) is not None
    return roster


@given(st.integers(1, 40), st.integers(0, 1000))
def test_each_member_is_probed_once_a_round_and_within_two(count: int, seed: int) -> None:
    roster = make(count, seed)
    first = [roster.next_target() for _ in range(count)]
    for _ in range(3):
        targets = [roster.next_target() for _ in range(count)]
        assert {target.name for target in targets if target} == {f"m{number}" for number in range(count)}
    assert len({target.name for target in first if target}) == count


def test_the_order_changes_from_round_to_round() -> None:
    roster = make(20)
    rounds = [tuple(target.name for _ in range(20) if (target := roster.next_target())) for _ in range(3)]
    assert len(set(rounds)) == 3


def test_who_is_gone_is_not_probed_nor_chosen_and_who_is_back_is() -> None:
    roster = make(5)
    gone = roster.members["m3"]
    roster.change(gone, Status.FAILED, 1, None, 7)
    assert "m3" not in {target.name for _ in range(20) if (target := roster.next_target())}
    assert "m3" not in {member.name for _ in range(20) for member in roster.choose(2)}
    assert [member.name for member in roster.gone(Status.FAILED)] == ["m3"]
    assert roster.gone_before(8) == ["m3"]
    assert roster.gone_before(7) == []
    roster.change(gone, Status.ALIVE, 2, None, 9)
    assert "m3" in {target.name for _ in range(20) if (target := roster.next_target())}
    assert roster.gone(Status.FAILED) == []
    assert roster.ring.count("m3") == 1


def test_nobody_is_probed_where_nobody_is() -> None:
    assert make(0).next_target() is None
    roster = make(1)
    roster.change(roster.members["m0"], Status.LEFT, 1, None, 1)
    assert roster.next_target() is None
    assert roster.choose(3) == []


def test_choices_are_different_and_leave_out_whom_they_should() -> None:
    roster = make(10)
    for _ in range(50):
        names = [member.name for member in roster.choose(3, ("m1", "m2"))]
        assert len(names) == len(set(names)) == 3
        assert not {"m1", "m2", "me"} & set(names)
    assert {member.name for member in make(3).choose(5, ("m0",))} == {"m1", "m2"}


def test_a_full_roster_refuses_or_forgets_who_is_gone() -> None:
    roster = make(3, members_max=4)
    update = alive("new")
    assert roster.insert(update, details_of(update), 1) is None
    roster.change(roster.members["m1"], Status.LEFT, 1, None, 1)
    assert roster.insert(update, details_of(update), 1) is not None
    assert set(roster.members) == {"me", "m0", "m2", "new"}


@given(st.permutations(["a", "b", "c", "d"]), st.permutations(["a", "b", "c", "d"]))
def test_the_digest_does_not_depend_on_the_way(one: list[str], other: list[str]) -> None:
    digests = []
    for order in (one, other):
        roster = make(0)
        for name in order:
            update = alive(name)
            roster.insert(update, details_of(update), 0)
        roster.change(roster.members[order[0]], Status.SUSPECT, 1, None, 1)
        detour = roster.members[order[1]]
        roster.change(detour, Status.FAILED, 1, None, 1)
        roster.change(detour, Status.ALIVE, 1, None, 2)
        digests.append((roster.digest, roster.living))
    assert digests[0] == digests[1]


def test_the_digest_differs_by_member_incarnation_and_words() -> None:
    digests = set()
    for update in (None, alive("a"), alive("a", 2), alive("a", metadata=b"x"), alive("a", instance=2), alive("b")):
        roster = make(0)
        if update is not None:
            roster.insert(update, details_of(update), 0)
        digests.add(roster.digest)
    assert len(digests) == 6


def test_forgotten_is_forgotten() -> None:
    roster = make(2)
    roster.change(roster.members["m0"], Status.FAILED, 1, None, 1)
    roster.forget("m0")
    assert roster.get("m0") is None
    assert roster.next_target() is roster.members["m1"]
