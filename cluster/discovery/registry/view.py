"""What one watch stream of the registry has told of a service, put together from a snapshot and changes. No I/O.

The registry says what it says in pieces: a snapshot may come in several responses, and so may the changes of one
moment. A set is worth looking at when a response carries an index, which says that everything up to it was told.
"""

from cluster.discovery.endpoint import ENDPOINTS_MAX, WEIGHT_MAX, Endpoint, EndpointHealth, EndpointSet, check_address
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb

INSTANCES_MAX = 2 * ENDPOINTS_MAX
"""Instances that a view keeps; further ones are counted and left out."""
ZONE_KEY = "zone"
"""The metadata of an instance that names its zone."""


class ViewBroken(Exception):
    """The stream does not keep its promises: what it says cannot be put together."""


class View:
    """Of one stream; a new stream begins with a new one."""

    __slots__ = ("_has_begun", "_instances", "index", "is_stale", "left_out", "unusable")

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], Endpoint | None] = {}
        self._has_begun = False
        self.index = 0
        """Up to which all was told."""
        self.is_stale = False
        """Whether the registry says that it is cut off from its store."""
        self.left_out = 0
        """Instances beyond INSTANCES_MAX."""
        self.unusable = 0
        """Instances whose address nobody can connect to."""

    def take(self, response: pb.WatchResponse) -> EndpointSet | None:
        """Puts a response in; the set when it is whole now, None while more is to come.

        Raises ViewBroken when changes come before any snapshot.
        """
        if response.is_snapshot:
            self._instances.clear()
            self._has_begun = True
        elif not self._has_begun:
            raise ViewBroken("changes came before a snapshot")
        for key in response.removed:
            self._instances.pop((key.node, key.id), None)
        for told in response.changed:
            place = (told.instance.node, told.instance.id)
            if place not in self._instances and len(self._instances) >= INSTANCES_MAX:
                self.left_out += 1
                continue
            endpoint = self._instances[place] = endpoint_of(told)
            if endpoint is None:
                self.unusable += 1
        if not response.freshness.index:
            return None
        self.index = response.freshness.index
        self.is_stale = response.freshness.stale
        return EndpointSet.of(endpoint for endpoint in self._instances.values() if endpoint is not None)


def endpoint_of(told: pb.Endpoint) -> Endpoint | None:
    """What the registry's endpoint is to a client; None when there is nothing to connect to."""
    instance = told.instance
    host = told.address or instance.address
    try:
        address = check_address(f"[{host}]:{instance.port}" if ":" in host else f"{host}:{instance.port}")
    except ValueError:
        return None
    weight = 1
    if instance.HasField("weights"):
        weight = instance.weights.warning if told.health == pb.WARNING else instance.weights.passing
    metadata = dict(instance.metadata)
    health = _HEALTH.get(told.health, EndpointHealth.UNKNOWN)
    return Endpoint(address, min(weight, WEIGHT_MAX), metadata.get(ZONE_KEY, ""), health, metadata)


_HEALTH = {
    pb.PASSING: EndpointHealth.HEALTHY,
    # A warning is for operators: the weight says how much load it should still get.
    pb.WARNING: EndpointHealth.HEALTHY,
    pb.CRITICAL: EndpointHealth.UNHEALTHY,
}
