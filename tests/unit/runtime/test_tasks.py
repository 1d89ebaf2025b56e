"""A task's death is heard."""

import asyncio

import pytest

from runtime.tasks import TaskScope


async def test_an_error_cancels_the_siblings_and_surfaces() -> None:
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fail() -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        async with TaskScope("s") as scope:
            scope.spawn(wait(), name="wait")
            assert scope.describe() == ["s/wait"]
            await asyncio.sleep(0)
            scope.spawn(fail(), name="fail")

    with pytest.raises(ExceptionGroup) as caught:
        await scenario()
    assert [str(error) for error in caught.value.exceptions] == ["broken"]
    assert cancelled == [True]


async def test_cancel_ends_the_scope_without_error() -> None:
    async with TaskScope("s") as scope:
        task = scope.spawn(asyncio.Event().wait(), name="wait")
        scope.cancel()
    assert task.cancelled()
