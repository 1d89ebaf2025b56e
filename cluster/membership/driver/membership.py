"""A member of the cluster: the core on the process's doors."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence

from cluster.http.address import split_address
from cluster.membership import metadata as metadata_codec
from cluster.membership.core import Address, EventKind, Output, Status, Swim
from cluster.membership.driver.options import MembershipOptions
from cluster.membership.driver.transport import GossipTransport, TransportCounters
from cluster.membership.driver.watching import KINDS, Change, ChangeKind, MemberView, Watch
from cluster.membership.envelope import Envelope
from cluster.membership.keyring import KeyRing
from cluster.membership.metadata import EMPTY, Metadata
from runtime import Clock, Net, Randomness

INSTANCE_RANDOM_BITS = 20
"""Behind the milliseconds of the start, for processes that start in the same one."""
LATE_TICKS_MAX = 1.0
"""A tick that is later than this is left out, and not made up for: the process stood still, and what the others said
meanwhile is heard before time goes on. On a loop that lags, a member's time goes slower, and so do its accusations."""

_log = logging.getLogger(__name__)


class NameTaken(Exception):
    """An older living process of the cluster has this member's name. This one is no member, and never will be."""

    def __init__(self, name: str, holder: Address) -> None:
        super().__init__(f"the name {name} is that of a living member at {holder}")
        self.name = name
        self.holder = holder


class Membership:
    """Runs from `start` to `stop`. All of it belongs to the event loop that started it."""

    def __init__(
        self, net: Net, clock: Clock, random: Randomness, options: MembershipOptions, metadata: Metadata
    ) -> None:
        """Use `start`."""
        self._options = options
        self._random = random
        self._metadata = metadata_codec.encode(metadata)
        self._clock = clock
        ring = KeyRing(options.keys, random) if options.keys else None
        self._envelope = Envelope(
            options.label, ring, seal_outgoing=options.seal_outgoing, refuse_unsealed=options.refuse_unsealed
        )
        self._transport = GossipTransport(net, self._envelope, options, self._datagram, self._stream)
        self._swim: Swim | None = None
        self._address: Address | None = None
        self._watches: dict[Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._taken: asyncio.Future[NameTaken] | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self._stopped = False
        self.ticks_skipped = 0
        """Ticks that were left out since the process stood still."""

    @classmethod
    async def start(
        cls,
        net: Net,
        clock: Clock,
        random: Randomness,
        options: MembershipOptions,
        metadata: Metadata = EMPTY,
    ) -> "Membership":
        """Binds the port and begins to look for the cluster; does not wait until it is found: see `joined`.

        Raises OSError when the port is taken, ValueError when the options or the metadata cannot be.
        """
        membership = cls(net, clock, random, options, metadata)
        await membership._start()
        return membership

    # What users ask

    @property
    def name(self) -> str:
        """This member's name."""
        return self._options.name

    @property
    def address(self) -> Address:
        """Where the others reach this member."""
        return self._core.own.details.address

    @property
    def joined(self) -> bool:
        """Whether it has found others, or has nobody to look for."""
        return self._core.contacts > 0 or not self._options.seeds or self._core.living > 1

    def members(self) -> list[MemberView]:
        """All that count as members at present, this one included, by name. O(n log n)."""
        return sorted((MemberView.of(member) for member in self._core.members()), key=lambda view: view.name)

    def member(self, name: str) -> MemberView | None:
        """What is believed of a name; also of one that failed or left not long ago."""
        member = self._core.member(name)
        return None if member is None else MemberView.of(member)

    def watch(self) -> Watch:
        """Changes from now on, behind the members that are there: see `Watch`. Close it, or use `async with`."""
        watch = Watch(self._options.watch_events_max + self._core.living, self._forget_watch)
        for view in self.members():
            watch.put(Change(ChangeKind.JOINED, view))
        if self._stopped:
            watch.close()
        else:
            self._watches[watch] = None
        return watch

    async def events(self) -> AsyncIterator[Change]:
        """The same as an async generator."""
        async with self.watch() as changes:
            async for change in changes:
                yield change

    def update_metadata(self, metadata: Metadata) -> None:
        """Says something else of itself; the others hear it as UPDATED. Raises ValueError when it is too long."""
        self._core.update_metadata(metadata_codec.encode(metadata))
        self._flush()

    async def wait_refused(self) -> NameTaken:
        """Returns when an older living member turns out to have this one's name; a service then stops."""
        assert self._taken is not None
        return await asyncio.shield(self._taken)

    async def leave(self, within_s: float = 2.0) -> bool:
        """Says goodbye, so that the others hear LEFT and not FAILED. Returns whether it was said often enough in time.
        The member answers on; `stop` ends it.
        """
        self._core.leave()
        self._flush()
        try:
            async with asyncio.timeout(within_s):
                await self._left.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Ends it. Without `leave` before, the others find out by themselves, and hear FAILED."""
        if self._stopped:
            return
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for watch in tuple(self._watches):
            watch.close()
        seeking, self._seeking = self._seeking, None
        if seeking is not None:
            seeking.cancel()
            await asyncio.wait((seeking,))
        await self._transport.close()

    @property
    def key_ring(self) -> KeyRing | None:
        """For changing keys, None without any: `install`, `use`, `remove`."""
        return self._envelope.ring

    @property
    def core(self) -> Swim:
        """The core, for metrics. To be read, not called."""
        return self._core

    @property
    def traffic(self) -> TransportCounters:
        """What went through the sockets."""
        return self._transport.counters

    def info(self) -> dict[str, object]:
        """The part of `/info` about the membership: `{"membership": membership.info()}`."""
        core = self._core
        return {
            "name": core.own.name,
            "address": str(core.own.details.address),
            "incarnation": core.own.incarnation,
            "joined": self.joined,
            "health": core.health,
            "digest": f"{core.digest:016x}",
            "sealed": self._envelope.ring is not None,
            "members": [
                {
                    "name": view.name,
                    "status": view.status.name.lower(),
                    "address": str(view.address),
                    "service": view.metadata.service,
                    "endpoints": dict(view.metadata.endpoints),
                }
                for view in self.members()
            ],
        }

    # Running

    async def _start(self) -> None:
        options, loop = self._options, asyncio.get_running_loop()
        host, port = split_address(options.listen)
        bound = await self._transport.open(host, port)
        try:
            own = await self._advertised(bound)
            instance = int(self._clock.wall_s() * 1000) << INSTANCE_RANDOM_BITS
            instance |= self._random.integer(0, 1 << INSTANCE_RANDOM_BITS)
            self._swim = Swim(options.swim, options.name, instance, own, self._metadata, self._random.integer)
        except BaseException:
            await self._transport.close()
            raise
        self._taken = loop.create_future()
        self._due_s = loop.time() + self._random.random() * options.tick_s
        self._timer = loop.call_at(self._due_s, self._tick)
        if options.seeds:
            self._seeking = loop.create_task(self._seek(), name="membership/seek")
            self._seeking.add_done_callback(_report)

    @property
    def _core(self) -> Swim:
        assert self._swim is not None, "the membership was not started"
        return self._swim

    async def _advertised(self, bound: Address) -> Address:
        host, port = split_address(self._options.advertise) if self._options.advertise else (bound.host, 0)
        address = await resolve(host, port or bound.port)
        numeric = ipaddress.ip_address(address.host)
        if numeric.is_unspecified:
            raise ValueError(f"advertise must say where the others reach {bound}")
        if numeric.is_loopback and host != address.host and not ipaddress.ip_address(bound.host).is_loopback:
            # Machines often know their own name as 127.0.1.1; told to others, it would send them to themselves.
            raise ValueError(f"advertise: {host} is {address.host} here, which others do not reach; give the address")
        return address

    def _tick(self) -> None:
        loop, tick_s = asyncio.get_running_loop(), self._options.tick_s
        late_s = loop.time() - self._due_s
        stood_still = late_s > LATE_TICKS_MAX * tick_s
        if stood_still:
            self.ticks_skipped += int(late_s / tick_s)
            self._due_s = loop.time() + tick_s
        else:
            self._due_s += tick_s
        # Set before anything that could raise: a member whose time stands still would be declared dead.
        self._timer = loop.call_at(self._due_s, self._tick)
        if not stood_still:
            self._core.tick()
            self._flush()

    def _datagram(self, message: bytes, source: Address) -> None:
        if self._swim is not None and not self._stopped:
            self._swim.datagram(message, source)
            self._flush()

    def _stream(self, message: bytes) -> bytes | None:
        if self._swim is None or self._stopped:
            return None
        answer = self._swim.stream_message(message)
        self._flush()
        return answer

    def _flush(self) -> None:
        output: Output = self._core.take_output()
        for target, data in output.datagrams:
            self._transport.send(target, data)
        for call in output.streams:
            self._transport.call(call)
        for kind, member in output.events:
            view = MemberView.of(member)
            if kind is EventKind.NAME_TAKEN:
                self._refused(view)
                continue
            _log.info("member %s %s", view.name, kind.value, extra={"member": view.name, "address": str(view.address)})
            change = Change(KINDS[kind], view)
            for watch in tuple(self._watches):
                watch.put(change)
        if self._core.left:
            self._left.set()

    def _refused(self, holder: MemberView) -> None:
        error = NameTaken(holder.name, holder.address)
        _log.error("%s", error)
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(error)

    def _forget_watch(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    # Finding the cluster

    async def _seek(self) -> None:
        """Asks the seeds until one answers; then resolves them anew now and then, for the core to look after."""
        options = self._options
        pause_s = options.join_retry_s
        while True:
            seeds = await self._resolve_seeds()
            if self._core.own.status is Status.LEFT or self._core.refused:
                return
            if self._core.contacts:
                self._core.set_seeds(seeds)
                pause_s = options.seeds_refresh_s
            else:
                self._core.join(seeds)
                self._flush()
            await asyncio.sleep(pause_s * (0.5 + self._random.random()))
            if not self._core.contacts:
                pause_s = min(2 * pause_s, options.seeds_refresh_s)

    async def _resolve_seeds(self) -> Sequence[Address]:
        found: list[Address] = []
        for seed in self._options.seeds[: self._options.swim.seeds_max]:
            try:
                found.append(await resolve(*split_address(seed)))
            except (OSError, UnicodeError) as error:
                # UnicodeError: the name is none that DNS could have.
                _log.debug("seed %s: %s", seed, error)
        return found


async def resolve(host: str, port: int) -> Address:
    """The numeric address of a name. Raises OSError when it has none."""
    try:
        return Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    # IPv4 first: a name of this machine often has both, and most listen on the former only.
    best = min(found, key=lambda item: ":" in str(item[4][0]))
    return Address(str(best[4][0]), port)


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": "looking for the cluster failed", "exception": error, "task": task}
        )
