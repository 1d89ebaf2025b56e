"""A process makes itself known to the others, from its start to its clean end: in the membership, and in the registry.

What a service's main does with it:

    who = Identity.of("lock", config.node, address, "lock", admin=config.admin.listen)
    presence = Presence(
        who, config.membership, config.registration, checks, net=net, clock=clock, random=random, registry=registry
    )
    admin = AdminServer(..., lambda: Info(..., parts=presence.parts()), checks)
    try:
        await presence.start()
        async with TaskScope("lock") as scope:
            scope.spawn(presence.run(), name="presence")
            await stop.wait()
            await presence.leave()    # beside whatever else takes time when a process ends
            scope.cancel()
    finally:
        await presence.stop()

A process that finds nobody starts all the same, and goes on looking: whether it serves is not for the others to say.
The registry is found by the membership, so it need not be configured, and may come later. Decision:
docs/decisions/0019-presence.md.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry

from cluster.clients.registry import Condition, Registration, RegistryCalls, Timing
from cluster.membership.config import MembershipSection, membership_options
from cluster.membership.driver import Membership, MembershipMetrics
from cluster.presence.config import RegistrationSection
from cluster.presence.finding import registries
from cluster.presence.identity import Identity
from cluster.presence.metrics import RegistrationMetrics
from cluster.telemetry import Check
from runtime import Clock, Net, Randomness
from runtime.tasks import TaskScope

LEAVE_S_MAX = 2.0
"""How long a process that ends tries to tell the other members; it drains its clients' calls meanwhile."""
DEREGISTER_S_MAX = 1.0
"""How long it tries to tell the registry, before that."""

_log = logging.getLogger(__name__)


class Presence:
    """See the module. Nothing happens before `start`."""

    def __init__(
        self,
        who: Identity,
        membership: MembershipSection,
        registration: RegistrationSection,
        checks: Callable[[], Sequence[Check]],
        *,
        net: Net,
        clock: Clock,
        random: Randomness,
        registry: CollectorRegistry,
    ) -> None:
        """`checks` are those of `/readyz`, which the registry is told. Raises ValueError for nonsense in a section."""
        if membership.listen and membership.keys_file and not membership.keys:
            # Gossip in clear, where sealing was asked for, would be noticed by nobody.
            raise ValueError("membership.keys_file was not read; `orrery serve` does it")
        self._options = membership_options(membership, who.node)
        self._settings = registration
        self._who = who
        self._checks = checks
        self._net = net
        self._clock = clock
        self._random = random
        self._registry = registry
        self._membership: Membership | None = None
        self._registration: Registration | None = None
        self._registering: asyncio.Task[None] | None = None

    @property
    def membership(self) -> Membership | None:
        """The member; None before `start`, and when the process takes no part."""
        return self._membership

    @property
    def registration(self) -> Registration | None:
        """The registration; None before `start`, and when there is none."""
        return self._registration

    def registries(self) -> list[str]:
        """Where processes of the registry are now: those that were named, and those that say so themselves. Whoever
        finds services by the registry asks this, too.
        """
        members = self._membership.members() if self._membership is not None else ()
        return [*self._settings.endpoints, *registries(members)]

    def parts(self) -> Mapping[str, object]:
        """The parts of `/info` about it; empty when the process does not make itself known."""
        parts: dict[str, object] = {}
        if self._membership is not None:
            parts["membership"] = self._membership.info()
        if self._registration is not None:
            parts["registration"] = self._registration.info()
        return parts

    async def start(self) -> None:
        """Begins to look for the others, and does not wait for them. Raises OSError when the port is taken."""
        if self._options is not None:
            self._membership = await Membership.start(
                self._net, self._clock, self._random, self._options, self._who.as_member()
            )
            MembershipMetrics(self._registry, self._membership)
        if self._settings.enabled and (self._membership is not None or self._settings.endpoints):
            calls = RegistryCalls(self.registries, net=self._net, random=self._random, clock=self._clock)
            self._registration = Registration(
                calls,
                self._who.as_instance(self._settings.tags),
                self._condition,
                self._random,
                Timing(ttl_s=self._settings.ttl_ms / 1000),
            )
            RegistrationMetrics(self._registry, self._registration)

    async def run(self) -> None:
        """Runs until it is cancelled. Raises NameTaken, in a group, when an older living process has this one's name.

        Two processes of one name are a mistake in a configuration. The older one is known to the others, and works;
        were the younger one to go on without the membership, nobody would hear of its death.
        """
        async with TaskScope("presence") as scope:
            if self._registration is not None:
                self._registering = scope.spawn(self._registration.run(), name="registration")
            if self._membership is not None:
                raise await self._membership.wait_refused()

    async def leave(self) -> None:
        """Says goodbye, so that the others do not take this end for a death; for 3 seconds at most."""
        if self._registering is not None:
            # A report that came after the goodbye would register it again.
            self._registering.cancel()
            await asyncio.wait((self._registering,))
        if self._registration is not None:
            await self._registration.deregister(DEREGISTER_S_MAX)
        if self._membership is not None and not await self._membership.leave(LEAVE_S_MAX):
            _log.debug("not all could be told of the end of this process in time")

    async def stop(self) -> None:
        """Ends it. Harmless when it never began."""
        if self._registration is not None:
            await self._registration.close()
        if self._membership is not None:
            await self._membership.stop()

    def _condition(self) -> Condition:
        failing = [check for check in self._checks() if not check.ok]
        return Condition(not failing, "; ".join(f"{check.name}: {check.detail or 'no'}" for check in failing))
