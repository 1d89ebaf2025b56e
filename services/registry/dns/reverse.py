"""Whose address is that? A table from addresses to names, made when it is asked for."""

from runtime import Clock
from services.registry.dns.targets import parse_ip
from services.registry.interface import Catalogue, Topic, TopicKind

REFRESH_S = 1.0
"""The table may be this old: it costs a walk through the whole catalogue, and nobody fails over by PTR records."""
NAMES_MAX = 16
"""Of one address. A laptop's loopback address is that of everything."""

_ALL = Topic(TopicKind.ALL)


class ReverseTable:
    """Finds nodes and services by address."""

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._names: dict[bytes, dict[tuple[str, str], None]] = {}
        self._index = 0
        self._made_s = 0.0

    def names(self, packed: bytes) -> list[tuple[str, str]]:
        """`("node", name)` and `("service", name)` of an address of 4 or 16 bytes, nodes first.

        O(1), or O(instances) once a second.
        """
        index, now_s = self._catalogue.index(_ALL), self._clock.monotonic_s()
        if index != self._index and (not self._index or now_s - self._made_s >= REFRESH_S):
            self._make()
            self._index, self._made_s = index, now_s
        return list(self._names.get(packed, ()))

    def _make(self) -> None:
        self._names = {}
        views = self._catalogue.nodes()
        for view in views:
            self._add(view.node.address, "node", view.node.name)
        for view in views:
            for instance in view.instances:
                if instance.address:
                    self._add(instance.address, "service", instance.service)

    def _add(self, address: str, kind: str, name: str) -> None:
        packed = parse_ip(address)
        if packed is not None:
            names = self._names.setdefault(packed, {})
            if len(names) < NAMES_MAX:
                names[kind, name] = None
