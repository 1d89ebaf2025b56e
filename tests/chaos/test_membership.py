"""Processes of a real cluster die, end, and come back: the membership of the others says so.

Goal: whoever asks any process on its admin port learns within seconds who is there, whatever service it is of.

Method: kv and lock as a user starts them, sealed by the key that the first start made. One process of each is killed by
its id; then one is stopped as an operator does it; each time all others are asked on `/info`.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conformance.clusters import OrreryCluster, missing_for_orrery, wait_for

ALL = ("kv-1", "kv-2", "kv-3", "lock-1", "lock-2")
JOINED_SECONDS_MAX = 20.0
FAILED_SECONDS_MAX = 20.0
"""Suspicion takes 2 s, and at five members 2.8 s or more until it counts; a busy machine needs longer."""
LEFT_SECONDS_MAX = 3.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    made = OrreryCluster(tmp_path / "orrery", services="lock")
    yield made
    made.close()


def members(cluster: OrreryCluster, node: str) -> dict[str, str]:
    """Who is there as a process believes, and whether it suspects them; the dead are no members."""
    part = cluster.info(node)["membership"]
    assert part["sealed"]
    return {member["name"]: member["status"] for member in part["members"]}


def all_believe(cluster: OrreryCluster, nodes: set[str]) -> bool:
    return all(members(cluster, node) == dict.fromkeys(nodes, "alive") for node in nodes)


def test_the_others_say_who_died_who_left_and_who_came_back(cluster: OrreryCluster) -> None:
    everybody = set(ALL)
    wait_for("all find each other", partial(all_believe, cluster, everybody), JOINED_SECONDS_MAX)
    services = {member["name"]: member["service"] for member in cluster.info("lock-2")["membership"]["members"]}
    assert services == {name: name.partition("-")[0] for name in ALL}

    for victim in ("kv-2", "lock-1"):
        rest = everybody - {victim}
        cluster.kill_processes(victim)
        killed_s = time.monotonic()
        wait_for(f"{victim} is declared dead", partial(all_believe, cluster, rest), FAILED_SECONDS_MAX)
        print(f"{victim}: all others knew after {time.monotonic() - killed_s:.1f} s")
        cluster.command("start", victim)
        wait_for(f"{victim} is back", partial(all_believe, cluster, everybody), JOINED_SECONDS_MAX)

    cluster.command("stop", "lock-2")
    rest = everybody - {"lock-2"}
    wait_for("lock-2 has left", partial(all_believe, cluster, rest), LEFT_SECONDS_MAX)
