"""Calls to the registry: at the process that answered last, and at the next one when it does not answer.

Every process of the registry answers everything. Which ones there are is asked anew for each call, so they may come and
go. Every call here may be sent more than once: registering the same again changes nothing, and what is gone is gone.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from cluster.clients.registry.errors import RegistryRefused, RegistryUnavailable, RegistryUnknown
from cluster.pb.orrery.registry.v1.registry_pb2 import (
    DeregisterRequest,
    DeregisterResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterRequest,
    RegisterResponse,
)
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.rpc.engine import RpcOptions, create_channel
from runtime import Clock, Net, Randomness

if TYPE_CHECKING:
    from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryAsyncStub

T = TypeVar("T")

ATTEMPT_S_MAX = 2.0
"""How long one process may take. It may wait for kv, which may be between two leaders."""
ENDPOINTS_MAX = 8
"""Processes that are tried in one call."""
MESSAGE_BYTES_MAX = 1024 * 1024
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""Codes that every process would give. After any other one, the next process may do better."""
_OPTIONS = RpcOptions(message_bytes_max=MESSAGE_BYTES_MAX, reconnect_backoff_s_max=1.0)


class RegistryCalls:
    """A client of all processes of the registry. Close it."""

    def __init__(self, endpoints: Callable[[], Sequence[str]], *, net: Net, random: Randomness, clock: Clock) -> None:
        """`endpoints` gives the `host:port` of those that are known now; there may be none for a while."""
        self._endpoints = endpoints
        self._net = net
        self._random = random
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._current = ""
        self.failures = 0
        """Attempts that failed, since the start."""

    @property
    def current(self) -> str:
        """The process that is asked first, `host:port`; empty when none has answered yet."""
        return self._current

    async def register(self, request: RegisterRequest) -> RegisterResponse:
        """Makes or changes an instance. Raises RegistryError."""

        async def attempt(stub: "RegistryAsyncStub", timeout_s: float) -> RegisterResponse:
            return await stub.Register(request, timeout=timeout_s)

        return await self._call(attempt)

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Reports on TTL checks; each result is in the answer. Raises RegistryError."""

        async def attempt(stub: "RegistryAsyncStub", timeout_s: float) -> HeartbeatResponse:
            return await stub.Heartbeat(request, timeout=timeout_s)

        return await self._call(attempt)

    async def deregister(self, request: DeregisterRequest) -> DeregisterResponse:
        """Takes an instance away. Raises RegistryError; RegistryRefused with NOT_FOUND when it is not there."""

        async def attempt(stub: "RegistryAsyncStub", timeout_s: float) -> DeregisterResponse:
            return await stub.Deregister(request, timeout=timeout_s)

        return await self._call(attempt)

    async def close(self) -> None:
        """Closes all connections."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def _call(self, attempt: Callable[["RegistryAsyncStub", float], Awaitable[T]]) -> T:
        """The first answer, each process asked once. Raises RegistryError."""
        definite, message = True, ""
        endpoints = await self._in_order()
        if not endpoints:
            raise RegistryUnknown
        for endpoint in endpoints:
            try:
                answer = await attempt(RegistryStub(self._channel(endpoint)), ATTEMPT_S_MAX)
            except grpc.aio.AioRpcError as error:
                code, message = error.code(), f"{endpoint}: {error.details() or error.code().name}"
                if code in _REFUSALS:
                    self._current = endpoint
                    raise RegistryRefused(code, error.details() or code.name, definite=definite) from error
                definite &= bool(getattr(error, "definite", False))
                self.failures += 1
            else:
                self._current = endpoint
                return answer
        raise RegistryUnavailable(message, definite=definite)

    async def _in_order(self) -> list[str]:
        """Who is asked, one after another; closes the connections to those that are no more."""
        known = list(dict.fromkeys(self._endpoints()))
        for gone in [endpoint for endpoint in self._channels if endpoint not in known]:
            await self._channels.pop(gone).close()
        if self._current not in known:
            self._current = ""
        # At random, or all processes of a cluster would ask the same one.
        for last in range(len(known) - 1, 0, -1):
            other = self._random.integer(0, last + 1)
            known[last], known[other] = known[other], known[last]
        known.sort(key=lambda endpoint: endpoint != self._current)
        return known[:ENDPOINTS_MAX]

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        channel = self._channels.get(endpoint)
        if channel is None:
            channel = create_channel(endpoint, _OPTIONS, net=self._net, random=self._random)
            self._channels[endpoint] = channel
        return channel
