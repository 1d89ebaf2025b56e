"""`/v1/status/`: who leads, and who takes part.

The processes of the registry have no leader: each answers everything. Clients ask for one to learn whether the cluster
can be written to, so the first process by name is told as the leader while kv is there, and nobody while it is away.
"""

from cluster.http import Response
from cluster.http.address import join_address
from services.registry.api.consul.query import Query, check_datacenter
from services.registry.api.consul.reading import JSON, Reading, encoded


class StatusRoom:
    """Reads about the cluster itself."""

    def __init__(self, reading: Reading, service: str, address: str) -> None:
        """`service` is the registry's own name in the catalogue, `address` where this process is reached."""
        self._reading = reading
        self._service = service
        self._address = address

    async def leader(self, rest: str, query: Query) -> Response:
        """`/v1/status/leader`: an address, or an empty text."""
        check_datacenter(query.get("dc"), self._reading.datacenter)
        away = not self._reading.catalogue.is_ready or self._reading.catalogue.staleness.is_stale
        return Response(200, encoded("" if away else self._peers()[0], pretty="pretty" in query), JSON)

    async def peers(self, rest: str, query: Query) -> Response:
        """`/v1/status/peers`: addresses."""
        check_datacenter(query.get("dc"), self._reading.datacenter)
        return Response(200, encoded([*self._peers()], pretty="pretty" in query), JSON)

    def _peers(self) -> list[str]:
        found = [
            join_address(endpoint.address, endpoint.instance.port)
            for endpoint in self._reading.catalogue.endpoints(self._service)
        ]
        return found or [self._address]
