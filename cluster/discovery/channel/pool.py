"""The endpoints of a service with a connection to each: follows the source, judges them, and picks.

What may be picked is reckoned anew with the first pick after something changed, and not with each change: a set of a
hundred endpoints that connect makes a hundred changes in a few milliseconds.
"""

import asyncio
from collections.abc import Collection
from typing import cast

import grpc
import grpc.aio

from cluster.discovery.balancers import Balancer
from cluster.discovery.budget import RetryBudget
from cluster.discovery.channel.options import BalancedOptions
from cluster.discovery.channel.subchannel import SubChannel, Tls
from cluster.discovery.eligibility import Choice, Reach, choose
from cluster.discovery.endpoint import EndpointSet
from cluster.discovery.outliers import Outliers, is_failure
from cluster.discovery.parting import end_parting, part
from cluster.discovery.source import Source, tell_failure
from cluster.rpc.engine import create_channel
from runtime import Clock, Net, Randomness

SWEEP_S_MIN = 0.01
"""The finest that returns of ejected endpoints are timed."""
OK = grpc.StatusCode.OK
_Connectivity = grpc.ChannelConnectivity


class Pool:
    """Made on a running loop. Close it."""

    def __init__(
        self,
        source: Source,
        balancer: Balancer[SubChannel],
        options: BalancedOptions,
        *,
        net: Net,
        random: Randomness,
        clock: Clock,
        tls: Tls | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.options = options
        self.clock = clock
        self._net = net
        self._random = random
        self._tls = tls
        self._balancer = balancer
        self.keeps_keys = balancer.keeps_keys
        self.targets: dict[str, SubChannel] = {}
        self.in_flight = 0
        """Calls on all endpoints."""
        self.budget = RetryBudget(options.retry_ratio, options.retry_reserve)
        self.outliers = Outliers(options.outliers, clock.monotonic_s())
        self.waiting = 0
        """Calls that wait for an endpoint."""
        self.resolves = 0
        """Sets that the source told."""
        self.retries = 0
        self.is_closed = False
        self._is_dirty = True
        self._choice: Choice[SubChannel] = Choice([], is_pending=False, is_panicking=False)
        self._waiters: list[asyncio.Future[None]] = []
        self._retiring: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._source = source
        self._is_known = False
        self._subscription = source.subscribe(self._resolved)
        self._known_by_s = clock.monotonic_s() + options.resolve_s_max
        if source.current.is_known:
            self._resolved(source.current)
        self._arm()

    # ---- picking

    def pick(self, key: bytes | None, tried: Collection[SubChannel] = ()) -> SubChannel | None:
        """Where a call goes, or None: see `must_wait`. Whoever makes the call says `begin` and `end`."""
        if self._is_dirty:
            self._reckon()
        return self._balancer.pick(key, tried, self.in_flight)

    @property
    def choice(self) -> Choice[SubChannel]:
        """Who may be picked now."""
        if self._is_dirty:
            self._reckon()
        return self._choice

    def begin(self, target: SubChannel) -> None:
        """A call goes there."""
        target.in_flight += 1
        target.picks += 1
        self.in_flight += 1

    def end(self, target: SubChannel, code: grpc.StatusCode | None) -> None:
        """It ended. None: given up by the caller, which says nothing of the endpoint."""
        target.in_flight -= 1
        self.in_flight -= 1
        if code is OK:
            record = target.record
            record.successes += 1
            record.consecutive = 0
        elif code is None:
            return
        elif not is_failure(code):
            self.outliers.succeeded(target.record)
        else:
            target.failures += 1
            # One that has left the set has no part in what is judged.
            if target.address in self.targets and self.outliers.failed(target.record, self.clock.monotonic_s()):
                self._touch()
                self._arm()

    async def acquire(
        self, key: bytes | None, *, wait_for_ready: bool, deadline_s: float | None, tried: Collection[SubChannel] = ()
    ) -> SubChannel | grpc.StatusCode:
        """Waits for an endpoint as long as it makes sense; the code of the failure when it does not any more.

        `deadline_s` is on the pool's clock.
        """
        if self.waiting >= self.options.waiting_max:
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        self.waiting += 1
        try:
            while True:
                if self.is_closed:
                    return grpc.StatusCode.CANCELLED
                target = self.pick(key, tried)
                if target is not None:
                    return target
                now_s = self.clock.monotonic_s()
                until_s = deadline_s
                if not wait_for_ready:
                    if not self._is_known:
                        if now_s >= self._known_by_s:
                            return grpc.StatusCode.UNAVAILABLE
                        until_s = self._known_by_s if deadline_s is None else min(self._known_by_s, deadline_s)
                    elif not self._choice.is_pending:
                        return grpc.StatusCode.UNAVAILABLE
                if deadline_s is not None and now_s >= deadline_s:
                    return grpc.StatusCode.DEADLINE_EXCEEDED
                await self._changed(None if until_s is None else max(0.001, until_s - now_s))
        finally:
            self.waiting -= 1

    def describe(self) -> str:
        """Why there is no endpoint, for people."""
        name = self.options.name or "the service"
        if not self._is_known:
            return f"nothing is known of the endpoints of {name} yet"
        if not self.targets:
            return f"{name} has no endpoints"
        return f"none of the {len(self.targets)} endpoints of {name} can be reached"

    # ---- following

    def _resolved(self, endpoints: EndpointSet) -> None:
        """Takes a set over: connections to endpoints that stay are kept, and those that are gone end gently."""
        if self.is_closed or not endpoints.is_known:
            return
        self._is_known = True
        self.resolves += 1
        present = set(endpoints.addresses)
        for address in [address for address in self.targets if address not in present]:
            self._retire(self.targets.pop(address))
        targets: dict[str, SubChannel] = {}
        for endpoint in endpoints.endpoints:
            target = self.targets.get(endpoint.address)
            if target is None:
                channel = create_channel(
                    endpoint.address,
                    self.options.rpc,
                    net=self._net,
                    random=self._random,
                    tls=self._tls.context if self._tls is not None else None,
                    server_hostname=self._tls.server_hostname if self._tls is not None else None,
                )
                target = SubChannel(endpoint, self.outliers.track(endpoint.address), channel)
                target.watcher = self.loop.create_task(self._watch(target), name=f"endpoint/{endpoint.address}")
                target.watcher.add_done_callback(tell_failure)
            target.endpoint = endpoint
            target.weight = max(1, endpoint.weight)
            targets[endpoint.address] = target
        self.targets = targets
        self._touch()

    async def _watch(self, target: SubChannel) -> None:
        """Keeps an endpoint connected, and knows whether it is."""
        channel = target.channel
        while (state := channel.get_state(try_to_connect=True)) is not _Connectivity.SHUTDOWN:
            reach = target.reach
            if state is _Connectivity.READY:
                reach = Reach.READY
            elif state is _Connectivity.TRANSIENT_FAILURE:
                reach = Reach.FAILED
            elif reach is Reach.READY:
                reach = Reach.LOST
            if reach is not target.reach:
                target.reach = reach
                self._touch()
            await channel.wait_for_state_change(state)

    def _retire(self, target: SubChannel) -> None:
        self.outliers.forget(target.address)
        if target.watcher is not None:
            target.watcher.cancel()
        task = self.loop.create_task(part(target.channel, self.options.drain_s), name=f"drain/{target.address}")
        self._retiring[task] = target.channel
        task.add_done_callback(self._retiring.pop)

    def _touch(self) -> None:
        self._is_dirty = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _reckon(self) -> None:
        self._is_dirty = False
        targets = list(self.targets.values())
        self._choice = choose(targets, panic_share=self.options.panic_share, keeps_keys=self.keeps_keys)
        self._balancer.update(targets, self._choice.usable)

    async def _changed(self, within_s: float | None) -> None:
        """Returns when something has changed, or the time is over."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        await asyncio.wait([waiter], timeout=within_s)
        if not waiter.done():
            waiter.cancel()
            self._waiters.remove(waiter)

    # ---- judging

    def _arm(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        left_s = self.outliers.next_s() - self.clock.monotonic_s()
        self._sweeper = self.loop.call_later(max(SWEEP_S_MIN, left_s), self._sweep)

    def _sweep(self) -> None:
        if self.outliers.sweep(self.clock.monotonic_s()):
            self._touch()
        self._arm()

    # ---- state

    def state(self) -> grpc.ChannelConnectivity:
        """That of the best endpoint, as gRPC's own balancers tell it."""
        if self.is_closed:
            return _Connectivity.SHUTDOWN
        reaches = {target.reach for target in self.targets.values()}
        if Reach.READY in reaches:
            return _Connectivity.READY
        if not self._is_known or Reach.NEW in reaches or Reach.LOST in reaches:
            return _Connectivity.CONNECTING
        return _Connectivity.TRANSIENT_FAILURE

    async def wait_changed(self) -> None:
        """Returns when anything has changed."""
        await self._changed(None)

    async def close(self, grace: float | None) -> None:
        """Ends all connections: running calls may take `grace` seconds."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        watchers = [cast("asyncio.Task[None]", target.watcher) for target in self.targets.values()]
        for watcher in watchers:
            watcher.cancel()
        self._touch()
        closing = [target.channel.close(grace) for target in self.targets.values()]
        await asyncio.gather(self._subscription.close(), *closing)
        await asyncio.gather(*watchers, return_exceptions=True)
        await end_parting(self._retiring)
