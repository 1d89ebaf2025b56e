"""Asks the others, one each interval, whether they live (SWIM, sections 3.1 and 4.3; Lifeguard, section IV.A).

    ping --ack--------------------------------> lives
      |  no ack in time
      v
    helpers ping in this one's stead, and a stream is tried --ack, in the rest of the interval--> lives
      |  nothing
      v
    suspected. Helpers that did not even say "nothing yet" (a nack) speak against this member's own health.

At most one probe is under way. Interval and time-out are multiplied by the health multiplier.
"""

from dataclasses import dataclass

from cluster.membership.core.beliefs import Beliefs
from cluster.membership.core.state import Core
from cluster.membership.core.types import Address, Purpose
from cluster.membership.core.wire import Ack, Nack, Ping, PingRequest


@dataclass(slots=True)
class _Probe:
    sequence: int
    name: str
    timeout_tick: int
    end_tick: int
    asked: int = 0
    nacks: int = 0
    helped: bool = False


@dataclass(slots=True)
class _Relay:
    """A ping in another's stead."""

    asker: Address
    name: str
    sequence: int
    nack_tick: int
    end_tick: int
    nacked: bool = False


class Probing:
    """The failure detector of one member."""

    def __init__(self, core: Core, beliefs: Beliefs) -> None:
        self._core = core
        self._beliefs = beliefs
        self._probe: _Probe | None = None
        # Members that start together shall not probe together.
        self._next_tick = core.random(0, core.config.probe_interval_ticks) + 1
        self._relays: dict[int, _Relay] = {}

    def tick(self) -> None:
        """A tick has passed."""
        core, probe = self._core, self._probe
        if probe is not None:
            if core.now >= probe.end_tick:
                self._fail(probe)
            elif core.now >= probe.timeout_tick and not probe.helped:
                self._ask_for_help(probe)
        if core.now >= self._next_tick:
            self._start()
        if self._relays:
            self._tick_relays()

    def pinged(self, ping: Ping, source: Address) -> None:
        """Somebody asks whether this member lives."""
        core = self._core
        if ping.target != core.own.name:
            core.counters.misdirected += 1
            return
        core.send(source, ping.source, Ack(ping.sequence, core.own.name, core.own.details.instance))

    def acked(self, ack: Ack, *, by_stream: bool = False) -> None:
        """Somebody lives."""
        probe, core = self._probe, self._core
        if probe is not None and ack.sequence == probe.sequence:
            self._probe = None
            core.health.better()
            if by_stream:
                core.counters.probes_by_stream += 1
            return
        relay = self._relays.pop(ack.sequence, None)
        if relay is not None:
            core.send(relay.asker, relay.name, Ack(relay.sequence, ack.source, ack.instance))

    def nacked(self, nack: Nack) -> None:
        """A helper has heard nothing yet."""
        probe = self._probe
        if probe is not None and nack.sequence == probe.sequence and probe.nacks < probe.asked:
            probe.nacks += 1

    def asked(self, request: PingRequest, source: Address) -> None:
        """Somebody wants this member to ping another. Only members are pinged, at the address that is known here:
        nobody is to aim this member at a stranger.
        """
        core, config = self._core, self._core.config
        member = core.roster.get(request.target)
        if member is None or not member.living or len(self._relays) >= config.relays_max:
            core.send(source, request.source, Nack(request.sequence, core.own.name))
            return
        if member is core.own:
            core.send(source, request.source, Ack(request.sequence, core.own.name, core.own.details.instance))
            return
        sequence = core.next_sequence()
        end_tick = core.now + config.probe_interval_ticks * (config.health_max + 1)
        self._relays[sequence] = _Relay(
            source, request.source, request.sequence, core.now + config.nack_ticks, end_tick
        )
        core.send(member.details.address, member.name, Ping(sequence, core.own.name, member.name))

    def _start(self) -> None:
        core, config = self._core, self._core.config
        multiplier = core.health.multiplier
        self._next_tick = core.now + config.probe_interval_ticks * multiplier
        member = core.roster.next_target()
        if member is None:
            return
        core.counters.probes += 1
        timeout_tick = core.now + config.probe_timeout_ticks * multiplier
        self._probe = _Probe(core.next_sequence(), member.name, timeout_tick, self._next_tick)
        core.send(member.details.address, member.name, Ping(self._probe.sequence, core.own.name, member.name))

    def _ask_for_help(self, probe: _Probe) -> None:
        core, config = self._core, self._core.config
        probe.helped = True
        member = core.roster.get(probe.name)
        if member is None:
            return
        core.counters.probes_indirect += 1
        for helper in core.roster.choose(config.helpers, (probe.name,)):
            probe.asked += 1
            request = PingRequest(probe.sequence, core.own.name, probe.name)
            core.send(helper.details.address, helper.name, request)
        if config.mechanisms.stream_probes:
            ping = Ping(probe.sequence, core.own.name, probe.name)
            core.call(member.details.address, ping, Purpose.PROBE)

    def _fail(self, probe: _Probe) -> None:
        core = self._core
        self._probe = None
        member = core.roster.get(probe.name)
        if member is None or not member.living:
            return
        core.counters.probes_failed += 1
        missed = probe.asked - probe.nacks
        core.counters.nacks_missed += missed
        # Helpers that answer show that this member hears; without any, the failure itself is all there is to go by.
        core.health.worse(missed if probe.asked else 1)
        self._beliefs.suspect(member)

    def _tick_relays(self) -> None:
        core, over = self._core, []
        for sequence, relay in self._relays.items():
            if core.now >= relay.end_tick:
                over.append(sequence)
            elif not relay.nacked and core.now >= relay.nack_tick:
                relay.nacked = True
                core.send(relay.asker, relay.name, Nack(relay.sequence, core.own.name))
        for sequence in over:
            del self._relays[sequence]
