"""Keeps one instance registered for as long as its process runs.

It registers, and then reports on a TTL check every third of its time: at once when the condition changes, and with
what is wrong. Whoever answers that the instance is not known has forgotten it, so it is registered again. While nobody
answers, it goes on trying, with pauses that grow to a bound below the TTL, so that a registry that comes back does not
take what it still knows for dead.

The process serves with the registry or without: nothing here ends it, or holds its start up.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc

from cluster.clients.registry.calls import RegistryCalls
from cluster.clients.registry.errors import RegistryError, RegistryRefused, RegistryUnknown
from cluster.pb.orrery.registry.v1.registry_pb2 import (
    CRITICAL,
    PASSING,
    Beat,
    CheckDefinition,
    DeregisterRequest,
    HeartbeatRequest,
    Instance,
    RegisterRequest,
    TtlCheck,
)
from runtime import Randomness

OUTPUT_CHARACTERS_MAX = 1024
"""Of what is wrong; the registry cuts after 4 KiB."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What is registered."""

    service: str
    id: str
    """Unique on its node."""
    node: str
    """The process's name in the membership: with its death there the instance becomes critical."""
    address: str
    port: int
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] | None = None

    @property
    def check_id(self) -> str:
        """Of its only check."""
        return f"service:{self.id}"


@dataclass(frozen=True, slots=True)
class Condition:
    """How the instance is."""

    ok: bool
    output: str = ""
    """What is wrong, in a line."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often things happen, in seconds."""

    ttl_s: float = 15.0
    """After this long without a report the instance is critical."""
    look_s: float = 0.5
    """How often the condition is looked at between two reports."""
    retry_s_min: float = 0.2
    retry_s_max: float = 2.0
    """Pauses while nobody answers, doubled each time. Below `ttl_s`."""
    refused_s: float = 30.0
    """Pause after a refusal: somebody has to change something first."""
    forget_s: float = 86_400.0
    """The registry forgets an instance that was critical for this long: its process never came back."""

    def __post_init__(self) -> None:
        for name in ("ttl_s", "look_s", "retry_s_min", "retry_s_max", "refused_s", "forget_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class Registration:
    """See the module. `run` it; `deregister` when the process ends; `close`."""

    def __init__(
        self,
        calls: RegistryCalls,
        service: Service,
        condition: Callable[[], Condition],
        random: Randomness,
        timing: Timing = Timing(),
    ) -> None:
        """`condition` is asked often, and must be quick. The registration closes `calls` when it is closed."""
        self._calls = calls
        self._service = service
        self._condition = condition
        self._random = random
        self._timing = timing
        self._reported: Condition | None = None
        self._last_failure = ""
        self._told: tuple[type[RegistryError], str] | None = None
        self._may_be_there = False
        self.is_registered = False
        """Whether the registry has it, as far as is known."""
        self.registrations = 0
        """Times that it was registered: more than one says that it was forgotten."""

    @property
    def failures(self) -> int:
        """Attempts at calls that failed, since the start."""
        return self._calls.failures

    def info(self) -> dict[str, object]:
        """The part of `/info` about it."""
        return {
            "registered": self.is_registered,
            "registrations": self.registrations,
            "registry": self._calls.current,
            "failure": self._last_failure,
        }

    async def run(self) -> None:
        """Runs until it is cancelled."""
        timing = self._timing
        retry_s = timing.retry_s_min
        while True:
            try:
                if not self.is_registered:
                    await self._register()
                settled = await self._report()
            except RegistryRefused as refused:
                self._failed(refused, logging.WARNING)
                # Also what was registered before: whatever is in the way now, the next attempt begins anew.
                self.is_registered = False
                await asyncio.sleep(self._spread(timing.refused_s))
                continue
            except RegistryUnknown as unknown:
                # Looking again costs nothing, and the registry is there soon when a whole cluster starts.
                self._failed(unknown, logging.DEBUG)
                await asyncio.sleep(self._spread(timing.look_s))
                continue
            except RegistryError as error:
                self._failed(error, logging.INFO)
                settled = False
            if settled:
                retry_s = timing.retry_s_min
                self._last_failure, self._told = "", None
                await self._until_due(self._spread(timing.ttl_s / 3))
            else:
                await asyncio.sleep(self._spread(retry_s))
                retry_s = min(2 * retry_s, timing.retry_s_max)

    async def deregister(self, within_s: float) -> bool:
        """Takes the instance away, since its process ends by its own will; `run` must have ended. Returns whether that
        is certain. Never raises for a registry that is away.
        """
        if not self._may_be_there:
            return True
        self.is_registered = False
        try:
            async with asyncio.timeout(within_s):
                await self._calls.deregister(DeregisterRequest(node=self._service.node, id=self._service.id))
        except RegistryRefused as refused:
            return refused.code is grpc.StatusCode.NOT_FOUND
        except (RegistryError, TimeoutError) as error:
            reason = str(error) or f"no answer within {within_s:g} s"
            _log.info("the registry was not told of the end of this process", extra={"reason": reason})
            return False
        return True

    async def close(self) -> None:
        """Closes the connections."""
        await self._calls.close()

    async def _register(self) -> None:
        service, timing = self._service, self._timing
        check = CheckDefinition(
            id=service.check_id,
            name="what the process says of itself",
            ttl=TtlCheck(ttl_ms=int(timing.ttl_s * 1000)),
            deregister_critical_after_ms=int(timing.forget_s * 1000),
        )
        instance = Instance(
            service=service.service,
            id=service.id,
            node=service.node,
            address=service.address,
            port=service.port,
            tags=service.tags,
            metadata=dict(service.metadata or {}),
            checks=[check],
        )
        self._may_be_there = True  # also when no answer comes
        await self._calls.register(RegisterRequest(instance=instance, node_address=service.address))
        self.is_registered = True
        self.registrations += 1
        _log.info("registered", extra={"instance": service.id, "registry": self._calls.current})

    async def _report(self) -> bool:
        """Tells the condition; whether it was heard. Raises RegistryError."""
        condition, service = self._condition(), self._service
        beat = Beat(
            node=service.node,
            check_id=service.check_id,
            health=PASSING if condition.ok else CRITICAL,
            # What cannot be encoded, half a character of a file's name perhaps, must not end the reports.
            output=condition.output[:OUTPUT_CHARACTERS_MAX].encode(errors="replace").decode(),
        )
        response = await self._calls.heartbeat(HeartbeatRequest(beats=[beat]))
        result = response.results[0] if response.results else None
        if result is not None and result.code == grpc.StatusCode.OK.value[0]:
            self._reported = condition
            return True
        self._last_failure = result.message if result is not None else "no result"
        if result is not None and result.code != grpc.StatusCode.UNAVAILABLE.value[0]:
            # Unknown there, or somebody has put another check in its place.
            self.is_registered = False
        return False

    async def _until_due(self, within_s: float) -> None:
        """Returns when the next report is due: after a time, or when there is something else to say."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + within_s
        while (left_s := due_s - loop.time()) > 0:
            await asyncio.sleep(min(left_s, self._timing.look_s))
            if self._condition() != self._reported:
                return

    def _failed(self, error: RegistryError, level: int) -> None:
        self._last_failure = error.message
        # The first of a kind is told: a registry that is away for a day must not fill the log.
        told = (type(error), error.message if isinstance(error, RegistryRefused) else "")
        if told != self._told:
            self._told = told
            _log.log(level, "the registry does not hear this process: %s", error.message)

    def _spread(self, seconds: float) -> float:
        """Between 80 and 100 % of it, so that what started together does not stay together."""
        return seconds * (0.8 + 0.2 * self._random.random())
