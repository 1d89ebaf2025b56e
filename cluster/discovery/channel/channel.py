"""The channel: what stubs are given."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from cluster.discovery.balancers import Balancer
from cluster.discovery.channel.options import BalancedOptions
from cluster.discovery.channel.pool import Pool
from cluster.discovery.channel.streams import BalancedStream
from cluster.discovery.channel.subchannel import SubChannel, Tls
from cluster.discovery.channel.unary import BalancedUnaryUnary
from cluster.discovery.source import Source
from runtime import Clock, Net, Randomness

Serializer = Callable[[object], bytes]
Deserializer = Callable[[bytes], object]


class BalancedChannel(grpc.aio.Channel):
    """A channel over all endpoints of a source. Generated stubs take it as they take grpc.aio's. Close it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        """The endpoints, and what is counted of them."""

    def unary_unary(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> BalancedUnaryUnary:
        """A callable for a method with one message each way."""
        return BalancedUnaryUnary(self.pool, method, request_serializer, response_deserializer)

    def unary_stream(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """A callable for a method that answers with a stream."""
        return BalancedStream(self.pool, "unary_stream", method, request_serializer, response_deserializer)

    def stream_unary(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """A callable for a method that takes a stream."""
        return BalancedStream(self.pool, "stream_unary", method, request_serializer, response_deserializer)

    def stream_stream(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """A callable for a method that streams both ways."""
        return BalancedStream(self.pool, "stream_stream", method, request_serializer, response_deserializer)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """READY when any endpoint is; it connects without being asked."""
        return self.pool.state()

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns once the state is another than `last_observed_state`."""
        while self.pool.state() is last_observed_state:
            await self.pool.wait_changed()

    async def channel_ready(self) -> None:
        """Returns once an endpoint is ready. Raises UsageError when the channel is closed."""
        while (state := self.pool.state()) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise grpc.aio.UsageError("Channel is closed.")
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:
        """Ends the channel: running calls may take `grace` seconds, then they are cancelled."""
        await self.pool.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()


def balanced_channel(
    source: Source,
    balancer: Balancer[SubChannel],
    options: BalancedOptions | None = None,
    *,
    net: Net,
    random: Randomness,
    clock: Clock,
    tls: Tls | None = None,
) -> BalancedChannel:
    """A channel to the endpoints that `source` tells, by `balancer`. Needs a running loop.

    It connects to each endpoint at once, and again after each loss. Calls wait for the first connection; when no
    endpoint can be reached, they fail as UNAVAILABLE unless they ask to wait (`wait_for_ready`). A balancer belongs to
    one channel.
    """
    asyncio.get_running_loop()
    return BalancedChannel(
        Pool(source, balancer, options or BalancedOptions(), net=net, random=random, clock=clock, tls=tls)
    )
