import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from services.registry.checks.probes.resolving import ADDRESSES_MAX, Resolver, ask_system


class Dns:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.go_on.wait()
        if host == "missing":
            raise OSError("no such name")
        return ["10.0.0.1"] * 9


async def test_numbers_are_not_asked_for() -> None:
    dns = Dns()
    resolver = Resolver(dns)
    assert await resolver.addresses("10.0.0.7") == ("10.0.0.7",)
    assert await resolver.addresses("::1") == ("::1",)
    assert dns.asked == []


async def test_a_dns_that_hangs_takes_a_few_places_however_many_give_up() -> None:
    dns = Dns()
    resolver = Resolver(dns, lookups_max=2)
    for number in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await resolver.addresses(f"n{number}")
    assert dns.asked == ["n0", "n1"]
    dns.go_on.set()
    assert len(await resolver.addresses("n9")) == ADDRESSES_MAX
    assert dns.asked == ["n0", "n1", "n9"]


async def test_who_asks_for_the_same_name_waits_together() -> None:
    dns = Dns()
    resolver = Resolver(dns, lookups_max=1)
    asking = [asyncio.create_task(resolver.addresses("same")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    with suppress(asyncio.CancelledError):
        await asking[0]
    dns.go_on.set()
    await asyncio.gather(*asking[1:])
    assert dns.asked == ["same"]


async def test_a_name_that_is_missing_is_an_error_each_time() -> None:
    dns = Dns()
    dns.go_on.set()
    resolver = Resolver(dns, lookups_max=1)
    for _ in range(3):
        with pytest.raises(OSError, match="no such name"):
            await resolver.addresses("missing")


async def test_what_no_name_can_be() -> None:
    with pytest.raises(OSError, match="a"):
        await ask_system("a" * 80 + ".example")
    assert "127.0.0.1" in [*await ask_system("localhost"), "127.0.0.1"]
