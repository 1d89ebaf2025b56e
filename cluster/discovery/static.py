"""Endpoints that are written down: a configuration's, or what a program sets."""

from collections.abc import Iterable, Sequence

from cluster.discovery.endpoint import Endpoint, EndpointSet, check_address
from cluster.discovery.source import Published, Source


class StaticSource(Published):
    """A list. It changes only when it is told to."""

    def __init__(self, endpoints: Iterable[Endpoint | str]) -> None:
        """Strings are addresses, `host:port`. Raises ValueError for what is none."""
        super().__init__(_set_of(endpoints))

    def replace(self, endpoints: Iterable[Endpoint | str]) -> None:
        """Sets another list. Raises ValueError."""
        self.publish(_set_of(endpoints))


def as_source(endpoints: Source | Sequence[str]) -> Source:
    """The source itself, or one of addresses. Raises ValueError for what is no address."""
    return StaticSource(endpoints) if isinstance(endpoints, Sequence) else endpoints


def _set_of(endpoints: Iterable[Endpoint | str]) -> EndpointSet:
    made = [Endpoint(endpoint) if isinstance(endpoint, str) else endpoint for endpoint in endpoints]
    for endpoint in made:
        check_address(endpoint.address)
    return EndpointSet.of(made)
