"""What is picked keeps the order of ages, whatever the tables, and in the end nothing is left to do."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lsm.catalog import TableMeta, runs_of
from storage.lsm.options import CompactionPolicy, LsmOptions
from storage.lsm.picking import Plan, pick, pick_everything, pressure

OPTIONS = LsmOptions(level0_tables_compact=3, level1_bytes=100, level_growth=3, levels=4, table_bytes_max=40)
TIERED = LsmOptions(level0_tables_compact=3, compaction=CompactionPolicy.TIERED)


def table(
    number: int, low: int, high: int, *, level: int = 0, run: int | None = None, size: int = 10, deletions: int = 0
) -> TableMeta:
    return TableMeta(
        number=number,
        table_id=number,
        level=level,
        run=(number if level == 0 else 0) if run is None else run,
        size_bytes=size,
        entries=max(1, size),
        low=b"%03d" % low,
        high=b"%03d" % high,
        range_deletes=0,
        deletions=deletions,
        expiring=False,
        created_ms=0,
    )


def numbers(plan: Plan | None) -> list[int]:
    assert plan is not None
    return sorted(meta.number for meta in plan.inputs)


def test_a_full_level_0_goes_down_with_what_it_overlaps() -> None:
    tables = [table(1, 10, 20), table(2, 15, 30), table(3, 40, 50), table(4, 0, 12, level=1), table(5, 60, 70, level=1)]
    plan = pick(tables, OPTIONS)
    assert numbers(plan) == [1, 2, 3, 4]
    assert plan is not None
    assert (plan.level, plan.run, plan.move, plan.bottom) == (1, 0, False, True)


def test_tables_that_overlap_nothing_only_move() -> None:
    plan = pick([table(1, 10, 20), table(2, 20, 30), table(3, 40, 50)], OPTIONS)
    assert plan is not None
    assert plan.move
    plan = pick([table(1, 10, 20), table(2, 19, 30), table(3, 40, 50)], OPTIONS)
    assert plan is not None
    assert not plan.move


def test_deletions_that_reach_the_bottom_are_not_moved_but_dropped() -> None:
    plan = pick([table(1, 10, 20, deletions=1), table(2, 20, 30), table(3, 40, 50)], OPTIONS)
    assert plan is not None
    assert plan.bottom
    assert not plan.move


def test_older_tables_beneath_keep_deletions_alive() -> None:
    tables = [table(1, 10, 20), table(2, 10, 30), table(3, 40, 50), table(9, 25, 26, level=3)]
    plan = pick(tables, OPTIONS)
    assert plan is not None
    assert not plan.bottom


def test_a_level_above_its_size_gives_the_table_that_overlaps_least() -> None:
    level1 = [table(number, number * 10, number * 10 + 9, level=1, size=40) for number in range(1, 5)]
    level2 = [table(number + 10, number * 10, number * 10 + 9, level=2, size=40) for number in (1, 2, 4)]
    plan = pick(level1 + level2, OPTIONS)
    assert numbers(plan) == [3]
    assert plan is not None
    assert (plan.level, plan.move) == (2, True)


def test_a_table_that_mostly_deletes_goes_down_to_what_it_deletes() -> None:
    above = table(1, 10, 20, level=1, deletions=6)
    beneath = table(2, 10, 20, level=3)
    assert numbers(pick([above, beneath], OPTIONS)) == [1]
    assert pick([table(1, 10, 20, level=1, deletions=4), beneath], OPTIONS) is None
    assert pick([above, table(2, 30, 40, level=3)], OPTIONS) is None


def test_tiers_of_about_the_same_size_are_merged_and_keep_their_age() -> None:
    tables = [table(1, 0, 9, size=1000), table(2, 0, 9, size=10), table(3, 0, 9, size=10), table(4, 0, 9, size=11)]
    plan = pick(tables, TIERED)
    assert numbers(plan) == [2, 3, 4]
    assert plan is not None
    assert (plan.level, plan.run, plan.bottom) == (0, 4, False)


def test_tiers_that_take_too_much_space_are_all_merged() -> None:
    tables = [table(1, 0, 9, size=100), table(2, 0, 9, size=150), table(3, 0, 9, size=150)]
    plan = pick(tables, TIERED)
    assert numbers(plan) == [1, 2, 3]
    assert plan is not None
    assert plan.bottom


def test_everything_becomes_one_run() -> None:
    assert pick_everything([], OPTIONS) is None
    plan = pick_everything([table(1, 0, 9), table(2, 0, 9, level=2)], OPTIONS)
    assert plan is not None
    assert (plan.level, plan.run, plan.bottom) == (2, 0, True)
    plan = pick_everything([table(1, 0, 9), table(2, 0, 9)], TIERED)
    assert plan is not None
    assert (plan.level, plan.run) == (0, 2)


def test_pressure_grows_with_what_is_to_be_done() -> None:
    assert pressure([], OPTIONS).pending_bytes == 0
    few = pressure([table(1, 0, 9, level=1, size=150)], OPTIONS)
    assert (few.level0_runs, few.pending_bytes) == (0, 50)
    many = pressure([table(number, 0, 9, size=50) for number in range(1, 6)], OPTIONS)
    assert many.level0_runs == 5
    assert many.pending_bytes > 250


@given(st.integers(0, 10_000), st.sampled_from([OPTIONS, TIERED]))
def test_plans_keep_ages_apart_and_come_to_an_end(seed: int, options: LsmOptions) -> None:
    """Applies plans as the engine does, on tables that hold (key, age): the newest age of each key must stay on top."""
    source = random.Random(seed)
    content: dict[int, dict[int, int]] = {}
    tables: list[TableMeta] = []
    number = 0
    newest: dict[int, int] = {}
    for age in range(1, 25):
        keys = sorted(source.sample(range(60), source.randrange(1, 20)))
        number += 1
        content[number] = dict.fromkeys(keys, age)
        newest |= content[number]
        tables.append(table(number, keys[0], keys[-1] + 1, size=len(keys)))
        for _ in range(100):
            plan = pick(tables, options)
            if plan is None:
                break
            gone = {meta.number for meta in plan.inputs}
            tables = [meta for meta in tables if meta.number not in gone]
            if plan.move:
                tables += [meta.at(plan.level, plan.run) for meta in plan.inputs]
            else:
                merged: dict[int, int] = {}
                for run in reversed(runs_of(list(plan.inputs))):
                    for meta in run:
                        merged |= content[meta.number]
                ordered = sorted(merged)
                for start in range(0, len(ordered), 15):
                    part = ordered[start : start + 15]
                    number += 1
                    content[number] = {key: merged[key] for key in part}
                    tables.append(table(number, part[0], part[-1] + 1, level=plan.level, run=plan.run, size=len(part)))
        else:
            pytest.fail("it never ends")
        seen: dict[int, int] = {}
        for run in reversed(runs_of(tables)):
            for meta in run:
                seen |= content[meta.number]
        assert seen == newest
