"""The whole workload, its end included, where nothing is broken: everything is answered and judged."""

import asyncio

import pytest

from orrery.sim.histories import Histories
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.mix import OPERATIONS, Mix
from orrery.sim.kv.scenarios import scenario
from runtime.sim import SwarmOptions, World

MIX = Mix(dict.fromkeys(OPERATIONS, 1.0), pause_s=0.4, watch_life_s=1.0, compaction_s=2.0)


async def _no_faults(cluster: KvCluster) -> None:
    await cluster.settled()
    await asyncio.sleep(8)


@pytest.fixture(scope="module")
def histories() -> Histories:
    world = World(5, options=SwarmOptions())
    histories = Histories(lambda: int(world.virtual_s * 1e9))

    async def play(world: World) -> None:
        await scenario(world, histories, _no_faults, MIX)

    world.play(play)
    return histories


def test_every_judge_has_something_to_say_and_is_content(histories: Histories) -> None:
    verdicts = {verdict.model: verdict for verdict in histories.judge()}
    assert set(verdicts) == {"kv", "watch", "list-append", "lock", "lease"}
    assert {verdict.answer for verdict in verdicts.values()} == {"yes"}
    assert verdicts["kv"].steps == 0, "revisions tell the order: nothing is searched"


def test_everything_is_looked_at_in_the_end(histories: Histories) -> None:
    operations = histories.subjects["kv"].history().operations
    written = {operation.key for operation in operations if operation.f == "put"}
    last = {operation.key for operation in operations if str(operation.process).startswith("asker")}
    assert written <= last
    lists = histories.subjects["lists"].history().operations[-1]
    assert lists.process == "asker"
    assert lists.outcome == "ok"
