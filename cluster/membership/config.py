"""The section `[membership]` that a service's configuration can have.

class KvConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    membership: MembershipSection = MembershipSection()

options = membership_options(config.membership, config.node)
"""

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.membership.core import SwimConfig
from cluster.membership.driver.options import MembershipOptions
from cluster.membership.keyring import KEY_BYTES

NACK_SHARE = 0.8
"""A helper says after this share of the time-out that it has heard nothing (Lifeguard, section IV.A)."""


class MembershipSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[membership]."""

    listen: Annotated[
        str,
        Meta(
            description="host:port for gossip, by UDP and TCP alike. Empty: this process takes no part in the"
            " membership, and nobody hears of its death from it."
        ),
    ] = ""
    advertise: Annotated[
        str,
        Meta(
            description="host:port under which the others reach `listen`. Empty: as `listen`, which then must not be"
            " 0.0.0.0. Wrong, it makes the others declare this process dead."
        ),
    ] = ""
    seeds: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of members to find the cluster by; the same list on all is fine. Empty: it waits to"
            " be found. Two or three that seldom move are enough."
        ),
    ] = ()
    cluster: Annotated[
        str,
        Meta(
            description="Names the cluster. Members of another one are not heard, so that a wrong address never merges"
            " two clusters.",
            min_length=1,
            max_length=64,
        ),
    ] = "orrery"
    keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Keys in base64 of 16, 24 or 32 bytes that all members share; the first one seals, all open."
            " Empty: gossip travels in clear, and whoever reaches the port can claim anything."
        ),
    ] = ()
    keys_file: Annotated[
        str,
        Meta(
            description="A file with such keys, one a line, instead of `keys`: it need not be where configurations are"
            " shown. It is read by `orrery serve`, at the start."
        ),
    ] = ""
    seal_outgoing: Annotated[
        bool, Meta(description="With keys: whether to seal. false only while keys are brought to a running cluster.")
    ] = True
    refuse_unsealed: Annotated[
        bool, Meta(description="With keys: whether to drop what is not sealed. false only at the same time.")
    ] = True
    tick_ms: Annotated[
        int,
        Meta(description="Milliseconds of the finest step of time. Shorter costs processor time.", ge=5, le=1000),
    ] = 100
    probe_interval_ms: Annotated[
        int,
        Meta(
            description="Milliseconds between two probes by one member. Twice as long: deaths are noticed half as fast,"
            " with half the traffic.",
            ge=50,
            le=60_000,
        ),
    ] = 1_000
    probe_timeout_ms: Annotated[
        int,
        Meta(
            description="Milliseconds that a probe waits before it asks helpers; above the slowest round trip. At most"
            " half of probe_interval_ms.",
            ge=10,
            le=30_000,
        ),
    ] = 500
    gossip_interval_ms: Annotated[
        int, Meta(description="Milliseconds between two rounds of news, while there are any.", ge=5, le=10_000)
    ] = 200
    suspicion_factor: Annotated[
        int,
        Meta(
            description="The shortest suspicion, in probe intervals times the decimal logarithm of the number of"
            " members. Lower: deaths are declared earlier, and of the living, too.",
            ge=1,
            le=20,
        ),
    ] = 4
    reap_s: Annotated[
        int,
        Meta(
            description="Seconds that a dead member is remembered and looked for. Whoever is away for longer has to"
            " find the cluster by its seeds.",
            ge=60,
            le=2_592_000,
        ),
    ] = 86_400


def membership_options(section: MembershipSection, name: str) -> MembershipOptions | None:
    """The options of the member `name`; None when the process takes no part. Raises ValueError that names the key."""
    if not section.listen:
        return None
    tick_ms = section.tick_ms
    timeout_ticks = max(1, round(section.probe_timeout_ms / tick_ms))
    interval_ticks = max(2, round(section.probe_interval_ms / tick_ms))
    if 2 * timeout_ticks > interval_ticks:
        raise ValueError("membership.probe_timeout_ms must be at most half of membership.probe_interval_ms")
    nack_ticks = min(max(1, int(NACK_SHARE * timeout_ticks)), interval_ticks - timeout_ticks - 1)
    swim = SwimConfig(
        probe_interval_ticks=interval_ticks,
        probe_timeout_ticks=timeout_ticks,
        nack_ticks=max(1, nack_ticks),
        # Without a tick for a nack there is no time for helpers either.
        helpers=SwimConfig().helpers if nack_ticks >= 1 else 0,
        gossip_ticks=max(1, round(section.gossip_interval_ms / tick_ms)),
        suspicion_factor=section.suspicion_factor,
        sync_ticks=max(1, 30_000 // tick_ms),
        reconnect_ticks=max(1, 10_000 // tick_ms),
        reap_ticks=section.reap_s * 1_000 // tick_ms,
        challenge_ticks=max(5, 2 * interval_ticks),
    )
    return MembershipOptions(
        name=name,
        listen=section.listen,
        advertise=section.advertise,
        seeds=section.seeds,
        label=section.cluster,
        keys=tuple(_key(text) for text in section.keys),
        seal_outgoing=section.seal_outgoing,
        refuse_unsealed=section.refuse_unsealed,
        tick_s=tick_ms / 1_000,
        swim=swim,
    )


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("membership.keys: a key is not base64") from error
    if len(key) not in KEY_BYTES:
        raise ValueError(f"membership.keys: a key must have 16, 24 or 32 bytes, not {len(key)}")
    return key
