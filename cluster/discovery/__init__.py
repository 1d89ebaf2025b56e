"""Clients inside the cluster find the endpoints of a service, spread their calls over them, and leave failing ones out.

source = service_source(config.discovery, "lock", net=net, random=random, clock=clock)
channel = balanced_channel(source, LeastRequest(random), BalancedOptions(name="lock"), net=net, ...)
stub = LocksStub(channel)
"""

from cluster.discovery.balancers import Balancer, LeastRequest, RingHash, RoundRobin, Target
from cluster.discovery.channel import (
    HASH_KEY,
    HASH_KEY_METADATA,
    BalancedChannel,
    BalancedOptions,
    balanced_channel,
)
from cluster.discovery.composite import CompositeSource
from cluster.discovery.config import DiscoverySection, kv_source, service_source
from cluster.discovery.endpoint import Endpoint, EndpointHealth, EndpointSet
from cluster.discovery.metrics import DiscoveryMetrics
from cluster.discovery.outliers import OutlierOptions
from cluster.discovery.registry import RegistrySource
from cluster.discovery.roster import Member, Roster
from cluster.discovery.source import Source, Subscription, watch
from cluster.discovery.static import StaticSource, as_source

__all__ = [
    "HASH_KEY",
    "HASH_KEY_METADATA",
    "BalancedChannel",
    "BalancedOptions",
    "Balancer",
    "CompositeSource",
    "DiscoveryMetrics",
    "DiscoverySection",
    "Endpoint",
    "EndpointHealth",
    "EndpointSet",
    "LeastRequest",
    "Member",
    "OutlierOptions",
    "RegistrySource",
    "RingHash",
    "Roster",
    "RoundRobin",
    "Source",
    "StaticSource",
    "Subscription",
    "Target",
    "as_source",
    "balanced_channel",
    "kv_source",
    "service_source",
    "watch",
]
