"""Whatever happens, in the end every check says what is true.

Goal: level-triggering leaves no corner. Method: seeds draw a life of many events (beats, expiries, instances that fail
and recover, members that die and return, kv away, processes of the registry that come and go, copies read anew, checks
that are redefined or removed); then nothing more happens, and after the longest hold and window all must agree with the
truth, each check have one owner, and nothing be left waiting.
"""

import asyncio
import random

import pytest

from cluster.membership.core import Status
from services.registry.catalogue import Update
from services.registry.checks.options import CheckOptions
from services.registry.checks.preservation import Allowance
from services.registry.domain import NODE_CHECK_ID, Health, Node
from services.registry.interface import Beat, NotFound, Unavailable
from tests.unit.services.registry.checks.living import FakeMembers, Living, play, tcp, ttl

OPTIONS = CheckOptions(allowance=Allowance(count_min=3, window_s=60.0), nodes_allowance=Allowance(0.5, 2, 60.0))
HEALTHS = list(Health)
PROBED, BEATING, NODES = range(12), range(12), range(6)


class Story:
    def __init__(self, living: Living, draw: random.Random) -> None:
        self.living = living
        self.draw = draw
        self.members = FakeMembers("a", *(f"n{number}" for number in NODES))
        self.reported: dict[str, Health] = {}
        self.processes = {name: living.start(name, members=self.members, options=OPTIONS) for name in ("a", "b")}

    async def begin(self) -> None:
        for number in PROBED:
            await self.living.add(tcp(f"p{number}", 2_000), instance=f"p{number}")
        for number in BEATING:
            await self.living.add(ttl(f"t{number}"), instance=f"t{number}", node=f"n{number % 6}")

    async def step(self) -> None:
        living, draw = self.living, self.draw
        number = draw.randrange(12)
        kind = draw.randrange(12)
        if kind <= 2:
            living.answers.health[f"p{number}:80"] = draw.choice(HEALTHS)
        elif kind <= 5:
            await self.beat(number, draw.choice(HEALTHS))
        elif kind == 6:
            living.store.expire(f"n{number % 6}", f"t{number}")
        elif kind == 7:
            name, status = f"n{number % 6}", draw.choice(list(Status))
            if draw.random() < 0.3:
                self.members.put_silently(name, status)
            else:
                self.members.say(name, status)
        elif kind == 8:
            living.store.away = not living.store.away
        elif kind == 9:
            name = draw.choice("abc")
            if name not in self.processes:
                self.processes[name] = living.start(name, members=self.members, options=OPTIONS)
            elif len(self.processes) > 1:
                del self.processes[name]
                await living.stop(name)
        elif kind == 10:
            copy = living.catalogue
            kept = [Update(key, each.value, each.revision, each.lease) for key, each in copy._records.items()]
            copy.reset(kept, copy.revision)
        elif not living.store.away:
            await self.replace(number)

    async def beat(self, number: int, health: Health) -> None:
        results = await self.living.registrar.beat([Beat(f"n{number % 6}", f"t{number}", health)])
        if results == [None]:
            self.reported[f"t{number}"] = health
        else:
            assert isinstance(results[0], Unavailable | NotFound)

    async def replace(self, number: int) -> None:
        """A check changes what it asks, or goes and comes anew."""
        living = self.living
        try:
            if self.draw.random() < 0.5:
                await living.registrar.deregister("orrery", f"p{number}")
            target = f"p{number}:80"
            await living.add(
                tcp(f"p{number}", 2_000, notes=str(self.draw.random()), target=target), instance=f"p{number}"
            )
        except (Unavailable, NotFound):
            pass

    def truths(self) -> list[str]:
        """What is not as it should be."""
        living, wrong = self.living, []
        for number in PROBED:
            expected = living.answers.health.get(f"p{number}:80", Health.PASSING)
            if living.health(f"p{number}") is not expected:
                wrong.append(f"p{number} is {living.state(f'p{number}')}, not {expected}")
        for number in BEATING:
            node, check_id = f"n{number % 6}", f"t{number}"
            state = living.state(check_id, node)
            # One that never reported, or says itself that it is critical, is so with or without time that runs.
            expected = self.reported.get(check_id, Health.CRITICAL)
            if not living.catalogue.is_beating(node, check_id):
                expected = Health.CRITICAL
            if state.health is not expected:
                wrong.append(f"{check_id} is {state}, not {expected}")
        for number in NODES:
            view = self.members.member(f"n{number}")
            assert view is not None
            lives = view.status in (Status.ALIVE, Status.SUSPECT)
            if (living.health(NODE_CHECK_ID, f"n{number}") is Health.PASSING) is not lives:
                wrong.append(f"n{number} is {living.state(NODE_CHECK_ID, f'n{number}')}, and {view.status.name}")
        return wrong


@pytest.mark.parametrize("seed", range(12))
def test_in_the_end_every_check_says_what_is_true(seed: int) -> None:
    async def scenario(living: Living) -> None:
        draw = random.Random(seed)
        story = Story(living, draw)
        await living.registrar.register_node(Node("n0", "127.0.0.1"))
        await story.begin()
        for _ in range(250):
            await asyncio.sleep(draw.choice([0.0, 0.01, 0.3, 2.0, 9.0]))
            await story.step()
        living.store.away = False
        await asyncio.sleep(10)
        # What was held back or damped is settled after the longest hold; beats do not end by themselves here. A hold is
        # let go as passing, and what the client says is what it says next.
        await asyncio.sleep(320)
        for number in BEATING:
            if living.catalogue.is_beating(f"n{number % 6}", f"t{number}") and f"t{number}" in story.reported:
                await story.beat(number, story.reported[f"t{number}"])
        await asyncio.sleep(30)
        assert story.truths() == []
        processes = story.processes.values()
        assert sum(checks.owned for checks in processes) == 12 + 12 + 6
        assert all(checks.flips_held_back == 0 for checks in processes)
        assert all(checks.unwritten == 0 for checks in processes)

    play(scenario, seed)
