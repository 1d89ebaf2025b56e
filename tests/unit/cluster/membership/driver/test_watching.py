"""Watches: in order, bounded, and at an end with their membership."""

import asyncio

import pytest

from cluster.membership.core import Address, Status
from cluster.membership.driver import Change, ChangeKind, MemberView, Watch
from cluster.membership.metadata import EMPTY


def change(name: str, kind: ChangeKind = ChangeKind.JOINED) -> Change:
    return Change(kind, MemberView(name, Status.ALIVE, Address("10.0.0.1", 1), EMPTY, 1, 1))


async def test_changes_come_in_their_order_and_are_waited_for() -> None:
    forgotten: list[Watch] = []
    watch = Watch(10, forgotten.append)
    watch.put(change("a"))
    watch.put(change("b"))
    assert await anext(watch) == change("a")
    assert await anext(watch) == change("b")
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not waiting.done()
    watch.put(change("c"))
    assert await waiting == change("c")
    async with watch:
        pass
    watch.close()
    assert forgotten == [watch]


async def test_a_slow_watcher_hears_that_it_missed_something() -> None:
    watch = Watch(3, lambda _: None)
    for name in "abcde":
        watch.put(change(name))
    watch.close()
    assert [item.kind async for item in watch] == [ChangeKind.RESET, ChangeKind.JOINED, ChangeKind.JOINED]


async def test_an_end_is_heard_by_who_waits_and_nothing_comes_behind_it() -> None:
    watch = Watch(3, lambda _: None)
    waiting = asyncio.ensure_future(anext(watch, None))
    await asyncio.sleep(0)
    watch.close()
    assert await waiting is None
    watch.put(change("late"))
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_cancelled_reader_loses_nothing() -> None:
    watch = Watch(3, lambda _: None)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    watch.put(change("a"))
    assert await anext(watch) == change("a")
