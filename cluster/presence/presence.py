"""A process's part in the membership, from its start to its clean end.

What a service's main does with it:

    who = Identity.of("kv", config.node, config.kv.advertise, "etcd", admin=config.admin.listen)
    presence = Presence(config.membership, who, runtime.net, runtime.clock, runtime.random, registry)
    admin = AdminServer(..., lambda: Info(..., parts=presence.parts()), ...)
    try:
        await presence.start()
        async with TaskScope("kv") as scope:
            scope.spawn(presence.run(), name="presence")
            await stop.wait()
            await presence.leave()    # beside whatever else takes time when a process ends
            scope.cancel()
    finally:
        await presence.stop()

A process that finds nobody starts all the same, and goes on looking: whether it serves is not the membership's to say.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from cluster.http.address import join_address, split_address
from cluster.membership.config import MembershipSection, membership_options
from cluster.membership.driver import Membership, MembershipMetrics
from cluster.membership.metadata import Metadata
from cluster.telemetry.report import VERSION
from runtime import Clock, Net, Randomness

LEAVE_S_MAX = 2.0
"""How long a process that ends tries to tell the others; it drains its clients' calls meanwhile."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is, and where it is reached."""

    service: str
    """`kv`, `lock`, ..."""
    node: str
    """Its name in the cluster, unique, and the same after a restart."""
    host: str
    """Under which the others reach it: a name or a number."""
    ports: Mapping[str, int]
    """Its ports by protocol; the first one is the service's own, `admin` is among the others."""

    @staticmethod
    def of(service: str, node: str, address: str, protocol: str, **listeners: str) -> "Identity":
        """Of a service that is reached at `address`, `host:port`; `listeners` are what else it listens on, `admin=...`.

        What it listens on may be an address that means nothing to others, 0.0.0.0: they take its host from `address`.
        """
        host, port = split_address(address)
        others = {name: split_address(listen)[1] for name, listen in listeners.items()}
        return Identity(service, node, host, {protocol: port, **others})

    @property
    def endpoints(self) -> dict[str, str]:
        """`host:port` by protocol."""
        return {protocol: join_address(self.host, port) for protocol, port in self.ports.items()}

    def metadata(self) -> Metadata:
        """The same as a member says it."""
        return Metadata(self.service, self.endpoints, {"node": self.node, "version": VERSION})


class Presence:
    """See the module. Nothing happens before `start`."""

    def __init__(
        self,
        section: MembershipSection,
        who: Identity,
        net: Net,
        clock: Clock,
        random: Randomness,
        registry: CollectorRegistry,
    ) -> None:
        """Raises ValueError when the section makes no sense."""
        if section.listen and section.keys_file and not section.keys:
            # Gossip in clear, where sealing was asked for, would be noticed by nobody.
            raise ValueError("membership.keys_file was not read; `orrery serve` does it")
        self._options = membership_options(section, who.node)
        self._who = who
        self._net = net
        self._clock = clock
        self._random = random
        self._registry = registry
        self._membership: Membership | None = None

    @property
    def membership(self) -> Membership | None:
        """The member; None before `start`, and when the process takes no part."""
        return self._membership

    def parts(self) -> Mapping[str, object]:
        """The part of `/info` about it; empty when the process takes no part."""
        return {} if self._membership is None else {"membership": self._membership.info()}

    async def start(self) -> None:
        """Begins to look for the others, and does not wait for them. Raises OSError when the port is taken."""
        if self._options is None or self._membership is not None:
            return
        membership = await Membership.start(self._net, self._clock, self._random, self._options, self._who.metadata())
        MembershipMetrics(self._registry, membership)
        self._membership = membership

    async def run(self) -> None:
        """Runs until it is cancelled. Raises NameTaken when an older living process has this one's name.

        Two processes of one name are a mistake in a configuration. The older one is known to the others, and works;
        were the younger one to go on without the membership, nobody would hear of its death.
        """
        if self._membership is not None:
            raise await self._membership.wait_refused()

    async def leave(self) -> None:
        """Says goodbye, so that the others do not take this end for a death; for at most LEAVE_S_MAX."""
        if self._membership is not None and not await self._membership.leave(LEAVE_S_MAX):
            _log.debug("not all could be told of the end of this process in time")

    async def stop(self) -> None:
        """Ends it. Harmless when it never began."""
        if self._membership is not None:
            await self._membership.stop()
