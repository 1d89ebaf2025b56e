import asyncio

import pytest

from cluster.clients.lock.errors import LockLost
from cluster.clients.lock.grant import Grant
from cluster.clients.lock.tether import Tether


def make() -> Grant:
    return Grant("a", 7, 7, b"a/1", 1, lambda: True)


def not_cancelling() -> bool:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling() == 0


async def test_a_loss_ends_the_block() -> None:
    grant = make()
    asyncio.get_running_loop().call_later(0.01, grant.lose, "why not")
    with pytest.raises(LockLost, match="why not"):
        async with Tether(grant, cancels=True):
            await asyncio.sleep(10)
    assert not_cancelling()
    await asyncio.sleep(0)


async def test_a_loss_before_the_block() -> None:
    grant = make()
    grant.lose("early")
    with pytest.raises(LockLost, match="early"):
        async with Tether(grant, cancels=True):
            await asyncio.sleep(10)
    assert not_cancelling()


async def test_a_block_that_ends_before_it_hears_of_the_loss() -> None:
    """The cancellation must not hit what comes after the block."""
    grant = make()
    with pytest.raises(LockLost):
        async with Tether(grant, cancels=True):
            grant.lose("late")
    assert not_cancelling()
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)


async def test_an_error_of_the_block_comes_first() -> None:
    grant = make()

    async def work() -> None:
        async with Tether(grant, cancels=True):
            grant.lose("late")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert not_cancelling()


async def test_a_cancellation_from_elsewhere_is_no_loss() -> None:
    grant = make()
    reached = asyncio.Event()

    async def work() -> None:
        async with Tether(grant, cancels=True):
            reached.set()
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    grant.lose("afterwards")  # nobody is cancelled any more


async def test_both_at_once_is_a_cancellation() -> None:
    grant = make()
    reached = asyncio.Event()

    async def work() -> None:
        async with Tether(grant, cancels=True):
            reached.set()
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await reached.wait()
    grant.lose("first")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_cancelling_the_block_goes_on() -> None:
    grant = make()
    ended = []

    async def work() -> None:
        async with Tether(grant, cancels=False):
            grant.lose("quietly")
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(LockLost):
        await work()
    assert ended


async def test_nothing_lost_nothing_raised() -> None:
    grant = make()
    async with Tether(grant, cancels=True):
        await asyncio.sleep(0)
    grant.lose("later")
    assert grant.reason == "later"
    assert not grant.is_held
