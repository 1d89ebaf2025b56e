"""Memberships on simulated hosts: crashes, pauses, partitions, firewalls, and worlds drawn from seeds."""

import asyncio
import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from cluster.membership.driver import ChangeKind
from runtime.sim import SwarmOptions, World


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulated_memberships", Path(__file__).with_name("simulated.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulated = load()
NAMES = ("a-1", "b-1", "c-1", "d-1", "e-1")


def test_a_crash_is_noticed_and_a_reboot_is_the_same_member() -> None:
    async def scenario(world: World) -> None:
        site = simulated.Site(world, NAMES)
        site.boot_all()
        await site.until(site.agreed, 30)
        world.host("c-1").crash()
        rest = [name for name in NAMES if name != "c-1"]
        assert await site.until(lambda: site.agreed(*rest), 40) < 10
        site.boot("c-1")
        await site.until(site.agreed, 30)
        kinds = [change.kind for change in site.heard["a-1"] if change.member and change.member.name == "c-1"]
        assert kinds[:4] == [ChangeKind.JOINED, ChangeKind.SUSPECT, ChangeKind.FAILED, ChangeKind.JOINED]

    simulated.play(scenario)


def test_one_that_slept_accuses_nobody() -> None:
    async def scenario(world: World) -> None:
        site = simulated.Site(world, NAMES)
        site.boot_all()
        await site.until(site.agreed, 30)
        for change in site.heard.values():
            change.clear()
        world.host("c-1").pause()
        await asyncio.sleep(60)
        assert ChangeKind.FAILED in [change.kind for change in site.heard["a-1"]]
        world.host("c-1").resume()
        await site.until(site.agreed, 30)
        sleeper = [change.kind for change in site.heard["c-1"]]
        assert ChangeKind.FAILED not in sleeper
        assert site.members["c-1"].ticks_skipped > 500
        others = {
            change.member.name for name in NAMES for change in site.heard[name] if change.kind is ChangeKind.FAILED
        }
        assert others == {"c-1"}

    simulated.play(scenario)


def test_sides_of_a_partition_that_gave_each_other_up_come_together() -> None:
    async def scenario(world: World) -> None:
        site = simulated.Site(world, NAMES)
        site.boot_all()
        await site.until(site.agreed, 30)
        world.net.partition(NAMES[:2], NAMES[2:])
        await site.until(lambda: len(site.members["a-1"].members()) == 2, 60)
        await site.until(lambda: len(site.members["c-1"].members()) == 3, 60)
        world.net.heal()
        await site.until(site.agreed, 60)

    simulated.play(scenario)


def test_a_firewall_that_drops_datagrams_is_noticed_but_kills_nobody() -> None:
    async def scenario(world: World) -> None:
        site = simulated.Site(world, NAMES[:2])
        site.boot_all()
        await site.until(site.agreed, 30)
        for heard in site.heard.values():
            heard.clear()
        world.net.lose("a-1", "b-1", 1.0)
        await asyncio.sleep(60)
        assert site.agreed()
        assert not any(site.heard.values())
        assert site.members["a-1"].core.counters.probes_by_stream > 10

    simulated.play(scenario)


def test_streams_to_hosts_without_power_end_and_do_not_pile_up() -> None:
    async def scenario(world: World) -> None:
        site = simulated.Site(world, NAMES)
        site.boot_all()
        await site.until(site.agreed, 30)
        for name in NAMES[1:]:
            world.host(name).crash()
        await site.until(lambda: len(site.members["a-1"].members()) == 1, 300)
        await asyncio.sleep(120)
        member = site.members["a-1"]
        assert member.traffic.streams_failed > 5
        assert len(member._transport._calls) <= 16

    simulated.play(scenario, options=dataclasses.replace(SwarmOptions(), refuse_probability=0.0))


@pytest.mark.parametrize("seed", range(10, 22))
def test_worlds_drawn_from_seeds_end_in_agreement(seed: int) -> None:
    simulated.play(simulated.troubled, seed=seed, options=World(seed).options)
