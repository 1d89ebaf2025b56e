"""The public face of the core: what a driver calls. See `types` for the contract."""

from collections.abc import Callable, Iterable

from cluster.membership.core.beliefs import Beliefs
from cluster.membership.core.claims import Claims
from cluster.membership.core.config import SwimConfig
from cluster.membership.core.errors import MetadataTooLarge
from cluster.membership.core.exchange import Exchange
from cluster.membership.core.probing import Probing
from cluster.membership.core.state import Core
from cluster.membership.core.types import Address, Counters, Details, Member, Output, Status, Update
from cluster.membership.core.wire import (
    Ack,
    Gossip,
    Nack,
    Offer,
    Ping,
    PingRequest,
    Same,
    State,
    check_name,
    decode,
    encode,
)

REAP_EVERY_TICKS = 10
_NOTHING = Output()


class Swim:
    """One member. Not safe for threads; every call is synchronous and short."""

    def __init__(
        self,
        config: SwimConfig,
        name: str,
        instance: int,
        address: Address,
        metadata: bytes,
        random: Callable[[int, int], int],
    ) -> None:
        """Starts a cluster of one.

        Args:
            config: this member's settings.
            name: unique in the cluster; kept over restarts.
            instance: this life of the process, below 2**64; greater than that of any former life under this name.
            address: where the others reach this member; numeric.
            metadata: what it says of itself, at most `metadata_bytes_max`.
            random: `random(low, high)` draws from [low, high), as runtime.Randomness.integer does.

        Raises:
            ValueError: the name or the address cannot be.
            MetadataTooLarge: see `metadata`.
        """
        check_name(name)
        if not 0 <= instance < 1 << 64:
            raise ValueError(f"instance must be in [0, 2**64), not {instance}")
        if not 0 < address.port < 1 << 16:
            raise ValueError(f"port must be in [1, 65535], not {address.port}")
        _check_metadata(config, metadata)
        core = self._core = Core(config, name, Details(instance, address, metadata, 1), random)
        self._claims = Claims(core)
        self._beliefs = Beliefs(core, self._claims)
        self._probing = Probing(core, self._beliefs)
        self._exchange = Exchange(core, self._beliefs)
        core.announce(core.own.incarnation)

    # What goes in

    def tick(self) -> None:
        """Time passes. O(1), apart from what is due."""
        core = self._core
        core.now += 1
        if core.refused:
            return
        self._claims.tick()
        if core.own.status is not Status.LEFT:
            self._probing.tick()
            self._exchange.tick()
        self._beliefs.tick()
        config = core.config
        if config.mechanisms.gossip and core.now % config.gossip_ticks == 0 and len(core.rumours):
            self._gossip()
        if core.now % REAP_EVERY_TICKS == 0:
            self._reap()

    def datagram(self, data: bytes, source: Address) -> None:
        """A datagram came in from `source`. Raises Malformed, and then nothing has changed."""
        message, updates = decode(data)
        core = self._core
        if core.refused:
            return
        # News first: an ack that answers them may carry the refutation already.
        for update in updates:
            self._beliefs.hear(update)
        if isinstance(message, Ping):
            self._probing.pinged(message, source)
        elif isinstance(message, Ack):
            self._claims.acked(message)
            self._probing.acked(message)
        elif isinstance(message, PingRequest):
            self._probing.asked(message, source)
        elif isinstance(message, Nack):
            self._probing.nacked(message)

    def stream_message(self, data: bytes) -> bytes | None:
        """A message came in by a stream, on either side. Returns the answer, or None when the conversation is over.

        Raises Malformed, and then nothing has changed.
        """
        message, updates = decode(data)
        core = self._core
        if core.refused:
            return None
        if isinstance(message, Offer):
            return self._exchange.offered(message)
        if isinstance(message, State):
            return self._exchange.exchanged(message, updates)
        if isinstance(message, Same):
            self._exchange.same()
        elif isinstance(message, Ping) and message.target == core.own.name:
            return encode(Ack(message.sequence, core.own.name, core.own.details.instance))
        elif isinstance(message, Ack):
            self._probing.acked(message, by_stream=True)
        return None

    def join(self, seeds: Iterable[Address]) -> None:
        """Looks for the cluster at these addresses, at once, and later now and then while they are no members."""
        self._exchange.set_seeds(seeds)
        self._exchange.join()

    def set_seeds(self, seeds: Iterable[Address]) -> None:
        """The seeds have other addresses now; they are not asked at once."""
        self._exchange.set_seeds(seeds)

    def update_metadata(self, metadata: bytes) -> None:
        """Says something else of itself. Raises MetadataTooLarge."""
        core = self._core
        _check_metadata(core.config, metadata)
        details = core.own.details
        if metadata != details.metadata and core.own.status is Status.ALIVE:
            core.announce(core.own.incarnation + 1, details._replace(metadata=metadata))

    def leave(self) -> None:
        """Says goodbye: the others hear LEFT, not FAILED. `left` tells when it was said often enough."""
        core = self._core
        own = core.own
        if own.status is Status.LEFT or core.refused:
            return
        core.roster.change(own, Status.LEFT, own.incarnation, None, core.now)
        core.spread(Update(own.name, Status.LEFT, own.incarnation))
        self._gossip()

    # What comes out

    def take_output(self) -> Output:
        """What there is to do since the last call. To be read, not changed."""
        core = self._core
        output = core.output
        if not (output.datagrams or output.streams or output.events):
            return _NOTHING
        core.output = Output()
        return output

    @property
    def own(self) -> Member:
        """This member, as it presents itself."""
        return self._core.own

    def members(self) -> list[Member]:
        """All that count as members, this one included while it has not left. To be read, not changed."""
        return [member for member in self._core.roster.members.values() if member.living]

    def member(self, name: str) -> Member | None:
        """What is believed of a name; also of one that failed or left, while it is remembered."""
        return self._core.roster.get(name)

    @property
    def living(self) -> int:
        """How many count as members, this one included."""
        return self._core.roster.living

    @property
    def suspects(self) -> int:
        """How many of them are suspected."""
        return self._beliefs.suspicions

    @property
    def digest(self) -> int:
        """Equal for two members that believe the same members to be there, with the same details."""
        return self._core.roster.digest

    @property
    def contacts(self) -> int:
        """State exchanges that have come about: 0 for one that has not found its cluster."""
        return self._exchange.contacts

    @property
    def contested(self) -> bool:
        """Whether an older process of the same name is being asked whether it lives."""
        return self._claims.contested

    @property
    def refused(self) -> bool:
        """Whether the name is another's: this member is silent for ever."""
        return self._core.refused

    @property
    def left(self) -> bool:
        """Whether the goodbye has been said often enough, or there is nobody to say it to."""
        core = self._core
        said = core.own.status is Status.LEFT and core.own.name not in core.rumours
        return core.refused or said or (core.own.status is Status.LEFT and core.roster.living == 0)

    @property
    def health(self) -> int:
        """What it thinks of its own health: 0 is well, `health_max` the worst."""
        return self._core.health.score

    @property
    def rumours(self) -> int:
        """News that it still has to tell."""
        return len(self._core.rumours)

    @property
    def counters(self) -> Counters:
        """What it has done so far."""
        return self._core.counters

    @property
    def now(self) -> int:
        """Ticks since its start."""
        return self._core.now

    # Inside

    def _gossip(self) -> None:
        core = self._core
        for member in core.roster.choose(core.config.gossip_fanout):
            if not len(core.rumours):
                return
            core.send(member.details.address, member.name, Gossip(core.own.name))

    def _reap(self) -> None:
        core = self._core
        for name in core.roster.gone_before(core.now - core.config.reap_ticks):
            if name != core.own.name:
                core.roster.forget(name)


def _check_metadata(config: SwimConfig, metadata: bytes) -> None:
    if len(metadata) > config.metadata_bytes_max:
        raise MetadataTooLarge(f"metadata of {len(metadata)} bytes exceed {config.metadata_bytes_max}")
