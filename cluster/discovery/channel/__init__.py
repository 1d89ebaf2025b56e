"""A channel for generated stubs that spreads calls over the endpoints of a service."""

from cluster.discovery.channel.channel import BalancedChannel, balanced_channel
from cluster.discovery.channel.options import HASH_KEY, HASH_KEY_METADATA, BalancedOptions

__all__ = ["HASH_KEY", "HASH_KEY_METADATA", "BalancedChannel", "BalancedOptions", "balanced_channel"]
