"""Nodes in virtual time: members die, leave, come back, and are found dead by those who were not there."""

import asyncio

from cluster.membership.core import Status
from services.registry.checks.nodes import ALIVE_OUTPUT, is_member_check
from services.registry.checks.options import CheckOptions
from services.registry.checks.preservation import Allowance
from services.registry.domain import NODE_CHECK_ID, CheckDefinition, CheckKind, Health, Node
from tests.unit.services.registry.checks.living import FakeMembers, Living, play, ttl

P, C = Health.PASSING, Health.CRITICAL


def node_health(living: Living, node: str) -> Health | None:
    check = living.catalogue.check(node, NODE_CHECK_ID)
    return None if check is None else check.state.health


def test_a_member_s_node_gets_a_check_and_follows_it() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1", "n2")
        living.start(members=members)
        await living.add(ttl(), node="n1")
        await living.until(lambda: node_health(living, "n1") is P, 2)
        check = living.check(NODE_CHECK_ID, "n1")
        assert check.state.output == ALIVE_OUTPUT
        assert is_member_check(check.definition)
        assert living.catalogue.node("n2") is None  # a member is not a node until somebody registers it
        members.say("n1", Status.SUSPECT)
        await asyncio.sleep(40)
        assert node_health(living, "n1") is P
        members.say("n1", Status.FAILED)
        await living.until(lambda: node_health(living, "n1") is C, 2)
        endpoint = living.catalogue.instance("n1", "i")
        assert endpoint is not None
        assert endpoint.health is C
        members.say("n1", Status.ALIVE)  # restarted, under the same name
        await living.until(lambda: node_health(living, "n1") is P, 2)
        members.say("n1", Status.LEFT)
        await living.until(lambda: node_health(living, "n1") is C, 2)
        assert "left" in living.state(NODE_CHECK_ID, "n1").output

    play(scenario)


def test_a_node_that_was_registered_by_hand_keeps_what_it_says() -> None:
    async def scenario(living: Living) -> None:
        await living.add(ttl(), node="by-hand")
        await living.registrar.register_node(Node("other", "127.0.0.1"))
        own = CheckDefinition(NODE_CHECK_ID, "own", CheckKind.TTL, ttl_ms=10_000, initial=P)
        await living.registrar.add_check("other", own)
        members = FakeMembers("a", "other")
        living.start(members=members)
        await asyncio.sleep(200)
        assert node_health(living, "by-hand") is None
        assert living.check(NODE_CHECK_ID, "other").definition == own

    play(scenario)


def test_one_that_starts_late_finds_who_died_meanwhile() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1", "n2", "n3")
        living.start("a", members=members)
        for name in ("n1", "n2", "n3"):
            await living.registrar.register_node(Node(name, "127.0.0.1"))
        await living.until(lambda: all(node_health(living, name) is P for name in ("n1", "n2", "n3")), 2)
        await living.stop("a")
        late = FakeMembers("n3")
        late.put_silently("n1", Status.FAILED)  # still remembered by the others, who told
        living.start("b", members=late)
        await living.until(lambda: node_health(living, "n1") is C, 2)
        await asyncio.sleep(50)
        assert node_health(living, "n2") is P  # nobody knows it; but this process has just come
        await living.until(lambda: node_health(living, "n2") is C, 60)
        assert node_health(living, "n3") is P

    play(scenario)


def test_one_that_has_found_nobody_has_no_opinion() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1")
        living.start("a", members=members)
        await living.registrar.register_node(Node("n1", "127.0.0.1"))
        await living.until(lambda: node_health(living, "n1") is P, 2)
        await living.stop("a")
        alone = FakeMembers()
        alone.joined = False
        living.start("b", members=alone)
        await asyncio.sleep(300)
        assert node_health(living, "n1") is P

    play(scenario)


def test_changes_that_were_dropped_or_never_told_are_found() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1", "n2")
        living.start(members=members)
        for name in ("n1", "n2"):
            await living.registrar.register_node(Node(name, "127.0.0.1"))
        await living.until(lambda: node_health(living, "n1") is P and node_health(living, "n2") is P, 2)
        members.put_silently("n1", Status.FAILED)
        members.overflow()
        await living.until(lambda: node_health(living, "n1") is C, 2)
        members.put_silently("n2", Status.FAILED)
        await living.until(lambda: node_health(living, "n2") is C, 35)

    play(scenario)


def test_a_node_that_stays_dead_goes_with_all_that_is_on_it() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1")
        living.start(members=members, options=CheckOptions(node_deregister_after_s=600.0))
        await living.add(ttl(initial=P), node="n1")
        await living.until(lambda: node_health(living, "n1") is P, 2)
        members.say("n1", Status.FAILED)
        await asyncio.sleep(590)
        assert living.catalogue.node("n1") is not None
        await living.until(lambda: living.catalogue.node("n1") is None, 20)
        assert living.catalogue.instance("n1", "i") is None

    play(scenario)


def test_who_sees_most_of_the_others_dead_is_held_back_for_a_while() -> None:
    names = [f"n{number}" for number in range(10)]

    async def scenario(living: Living) -> None:
        members = FakeMembers(*names)
        allowance = Allowance(share_max=0.5, count_min=3, window_s=120.0)
        checks = living.start(members=members, options=CheckOptions(nodes_allowance=allowance))
        for name in names:
            await living.registrar.register_node(Node(name, "127.0.0.1"))
        await living.until(lambda: all(node_health(living, name) is P for name in names), 3)
        for name in names[:8]:
            members.say(name, Status.FAILED)
        await asyncio.sleep(60)
        assert sum(node_health(living, name) is C for name in names) == 5
        assert checks.flips_held_back == 3
        held = next(name for name in names[:8] if node_health(living, name) is P)
        for name in (names[8], held):  # a goodbye is believed
            members.say(name, Status.LEFT)
            await living.until(lambda gone=name: node_health(living, gone) is C, 2)  # type: ignore[misc]
        assert checks.flips_held_back == 2
        await asyncio.sleep(70)
        assert sum(node_health(living, name) is C for name in names) == 9
        assert checks.flips_held_back == 0

    play(scenario)


def test_the_checks_of_a_dead_node_are_one_death_and_not_many() -> None:
    async def scenario(living: Living) -> None:
        members = FakeMembers("n1", "n2")
        checks = living.start(members=members)
        for number in range(60):
            await living.add(ttl(f"t{number}", initial=P), instance=f"i{number}", node="n1")
        for number in range(40):
            await living.add(ttl(f"o{number}", initial=P), instance=f"o{number}", node="n2")
        await living.until(lambda: node_health(living, "n1") is P, 2)
        members.say("n1", Status.FAILED)
        await living.until(lambda: node_health(living, "n1") is C, 2)
        for number in range(60):
            living.store.expire("n1", f"t{number}")
        await living.until(lambda: all(living.health(f"t{number}", "n1") is C for number in range(60)), 5)
        assert checks.flips_held_back == 0

    play(scenario)


def test_with_two_processes_one_writes() -> None:
    names = [f"n{number}" for number in range(12)]

    async def scenario(living: Living) -> None:
        members = FakeMembers(*names)
        first, second = living.start("a", members=members), living.start("b", members=members)
        for name in names:
            await living.registrar.register_node(Node(name, "127.0.0.1"))
        await living.until(lambda: all(node_health(living, name) is P for name in names), 3)
        assert first.owned + second.owned == 12
        commits = living.store.commits
        for name in names[:4]:
            members.say(name, Status.FAILED)
        await asyncio.sleep(3)
        assert living.store.commits == commits + 4
        await living.stop("a")
        members.put_silently(names[5], Status.FAILED)
        await living.until(lambda: node_health(living, names[5]) is C, 35)

    play(scenario)
