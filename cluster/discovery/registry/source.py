"""Follows a service in the registry by watch, over registry processes that fail, lag, or know less than we do."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import grpc.aio

from cluster.discovery.endpoint import EndpointSet, check_address
from cluster.discovery.registry.view import View, ViewBroken
from cluster.discovery.source import Published, tell_failure
from cluster.pb.orrery.registry.v1.registry_pb2 import WatchRequest, WatchResponse
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.rpc.engine import RpcOptions, create_channel
from runtime import Clock, Net, Randomness

FIRST_S_MAX = 5.0
"""How long a process may take from the connection to a whole set, before another one is asked."""
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
"""Between two streams: doubled each time, and then any share of that from a half up, so that clients spread."""
STEADY_S = 10.0
"""A stream that lived so long was a good one: the next pause is the shortest again."""
RECHECK_S = 5.0
"""How long a process is listened to that is cut off, or knows less than we do, before another one is asked."""
DOUBT_S_MAX = 15.0
"""How long an answer that seems wrong must be given, by processes that are not cut off, until it is believed."""
ADDRESSES_MAX = 64
"""Processes of the registry that are tried; there are a few."""
UNKNOWN_S = 0.5
"""Between two looks for a process of the registry, while none is known."""
_OPTIONS = RpcOptions(reconnect_backoff_s_max=0.5)

_log = logging.getLogger(__name__)


class RegistrySource(Published):
    """The instances of a service. The last known set survives when no process of the registry answers.

    Two answers are doubted, since they may come from a process that lags, or from a registry that has just been set up
    anew while the instances are about to register again: one whose index is below what was told already, and nobody
    where somebody was known. They are believed when they were given for DOUBT_S_MAX.
    """

    def __init__(
        self,
        addresses: Sequence[str] | Callable[[], Sequence[str]],
        service: str,
        *,
        net: Net,
        random: Randomness,
        clock: Clock,
        tags: Sequence[str] = (),
    ) -> None:
        """`addresses` are `host:port` of the registry's processes, or what tells those that are known now: it is asked
        before each stream, and may know none for a while. `tags`: only instances that have them all.

        Raises ValueError when there is no address, or one that is none.
        """
        super().__init__()
        if not callable(addresses):
            if not addresses:
                raise ValueError("the registry has no addresses")
            for address in addresses:
                check_address(address)
        self._addresses = addresses
        self._request = WatchRequest(service=service, tags=tags)
        self._net = net
        self._random = random
        self._clock = clock
        self._place = random.integer(0, ADDRESSES_MAX)
        self._task: asyncio.Task[None] | None = None
        self._index = 0
        self._doubted_since_s: float | None = None
        self.is_followed = False
        """Whether a stream is open that has told a whole set."""
        self.failures = 0
        """Streams that ended, for whatever reason but our own wish."""
        self.doubted = 0
        """Sets that were not believed when they came."""
        self.unusable = 0
        """Instances that were left out: too many, or with an address that is none."""

    @property
    def service(self) -> str:
        """Its name."""
        return self._request.service

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow(), name=f"discovery/{self.service}")
        self._task.add_done_callback(tell_failure)

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        """Has a stream, and the next one when it fails, for ever."""
        pause_s = PAUSE_S_MIN
        while True:
            known = self._known()
            if not known:
                await asyncio.sleep(UNKNOWN_S)
                continue
            address = known[self._place % len(known)]
            began_s = self._clock.monotonic_s()
            try:
                await self._stream(address)
            except TimeoutError:
                _log.debug("the registry at %s does not answer about %s", address, self.service)
                self.failures += 1
            except (grpc.aio.AioRpcError, ViewBroken) as error:
                _log.debug("the registry at %s: %s", address, error)
                self.failures += 1
            finally:
                self.is_followed = False
            if self._clock.monotonic_s() - began_s >= STEADY_S:
                pause_s = PAUSE_S_MIN
            self._place += 1
            await asyncio.sleep(pause_s * (0.5 + 0.5 * self._random.random()))
            pause_s = min(PAUSE_S_MAX, pause_s * 2)

    def _known(self) -> list[str]:
        """The addresses of now. Those that are told come from outside, and may be none."""
        told = self._addresses() if callable(self._addresses) else self._addresses
        known: dict[str, None] = {}
        for address in told[:ADDRESSES_MAX]:
            with contextlib.suppress(ValueError):
                known[check_address(address)] = None
        return list(known)

    async def _stream(self, address: str) -> None:
        """One stream; returns when another process may know more.

        Raises AioRpcError, ViewBroken, and TimeoutError when no set is whole in time.
        """
        channel = create_channel(address, _OPTIONS, net=self._net, random=self._random)
        loop = asyncio.get_running_loop()
        until_s: float | None = loop.time() + FIRST_S_MAX
        view = View()
        try:
            call = RegistryStub(channel).Watch(self._request)
            while True:
                async with asyncio.timeout_at(until_s):
                    endpoints = await self._read(call, view)
                if endpoints is None:
                    continue
                is_believed = self._adopt(endpoints, view.index, is_stale=view.is_stale)
                if is_believed and not view.is_stale:
                    until_s = None
                elif until_s is None or not self.is_followed:
                    until_s = loop.time() + RECHECK_S
                self.is_followed = True
                self.unusable = view.unusable + view.left_out
        except TimeoutError:
            if not self.is_followed:
                raise
        finally:
            await channel.close()

    async def _read(
        self, call: "grpc.aio.UnaryStreamCall[WatchRequest, WatchResponse]", view: View
    ) -> EndpointSet | None:
        response = await call.read()
        if not isinstance(response, WatchResponse):
            raise ViewBroken("the stream ended")
        return view.take(response)

    def _adopt(self, endpoints: EndpointSet, index: int, *, is_stale: bool) -> bool:
        """Makes a set the known one, unless it is doubted. Returns whether it was."""
        known = self._current
        is_doubtful = index < self._index or not endpoints.endpoints
        if is_doubtful and (known.endpoints or is_stale):
            now_s = self._clock.monotonic_s()
            if self._doubted_since_s is None:
                self._doubted_since_s = now_s
            if is_stale or now_s - self._doubted_since_s < DOUBT_S_MAX:
                self.doubted += 1
                return False
        self._doubted_since_s = None
        self._index = index
        self.publish(endpoints)
        return True
