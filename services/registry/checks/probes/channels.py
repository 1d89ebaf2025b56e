"""Channels to the targets of gRPC probes, kept from probe to probe, as many as are allowed.

Kept are those that worked. One over which a probe failed is not used again: a channel goes on to connect by itself, and
nobody needs that of a target which is asked only now and then.
"""

import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from cluster.rpc.engine import RpcOptions, create_channel
from runtime import Net, Randomness
from services.registry.checks.probes.targets import Target

CHANNELS_MAX = 256
OPTIONS = RpcOptions(message_bytes_max=64 * 1024)
"""A health message takes two bytes."""


@dataclass(slots=True)
class Held:
    """A channel and how many probes are on it."""

    channel: grpc.aio.Channel
    users: int = 0
    broken: bool = False
    """It is not to be used again."""


class Channels:
    """A cache that drops what was not used for longest. Channels in use stay open until they are not."""

    def __init__(self, net: Net, random: Randomness, channels_max: int = CHANNELS_MAX) -> None:
        self._net = net
        self._random = random
        self._max = channels_max
        self._idle_or_not: OrderedDict[tuple[str, int, bool, bool], Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._idle_or_not)

    @asynccontextmanager
    async def use(self, target: Target, *, tls: ssl.SSLContext | None, verify: bool) -> AsyncIterator[Held]:
        """A channel for one probe; the probe sets `broken` when it could not be reached over it."""
        key = (target.host, target.port, tls is not None, verify)
        held = self._idle_or_not.get(key)
        if held is None:
            # A scheme, since a host may be called `dns`.
            address = f"dns:///{target.address}"
            channel = create_channel(address, OPTIONS, net=self._net, random=self._random, tls=tls)
            held = self._idle_or_not[key] = Held(channel)
        self._idle_or_not.move_to_end(key)
        held.users += 1
        try:
            yield held
        finally:
            held.users -= 1
            if held.broken and self._idle_or_not.get(key) is held:
                del self._idle_or_not[key]
            if held.broken and held.users == 0:
                await held.channel.close()
            await self._shrink()

    async def close(self) -> None:
        """Closes all of them."""
        channels, self._idle_or_not = self._idle_or_not, OrderedDict()
        for held in channels.values():
            held.broken = True
            await held.channel.close()

    async def _shrink(self) -> None:
        while len(self._idle_or_not) > self._max:
            _, held = self._idle_or_not.popitem(last=False)
            held.broken = True
            if held.users == 0:
                await held.channel.close()
