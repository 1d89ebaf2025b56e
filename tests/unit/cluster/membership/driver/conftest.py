"""Memberships on this machine's loopback that end with their test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cluster.membership.driver import Membership, MembershipOptions
from cluster.membership.metadata import Metadata
from runtime.real import StreamNet, SystemClock, SystemRandomness

WITHIN_S = 20.0


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Membership]]]:
    """`await start(name, *seeds, **options)`."""
    started: list[Membership] = []

    async def starter(name: str, *seeds: Membership, **changes: Any) -> Membership:
        addresses = tuple(str(seed.address) for seed in seeds)
        options = MembershipOptions(name=name, seeds=addresses, tick_s=0.01, join_retry_s=0.05, **changes)
        member = await Membership.start(StreamNet(), SystemClock(), SystemRandomness(), options, Metadata("kv"))
        started.append(member)
        return member

    yield starter
    for member in started:
        await member.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """`await until(condition)`, within WITHIN_S."""

    async def waiter(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await asyncio.sleep(0.01)

    return waiter
