"""Two sources as one: what is written down until the other answers, and again when the other knows nobody."""

from cluster.discovery.endpoint import EndpointHealth, EndpointSet
from cluster.discovery.source import Published, Source, Subscription


class CompositeSource(Published):
    """A `fallback` (static addresses, to begin with) and a `better` one (the registry).

    The better one counts as soon as it knows an endpoint that is not unhealthy, and as long. With `keeps_fallback` the
    addresses of the fallback are in the set even then: for a service without which the better one learns nothing, as kv
    is to the registry. Otherwise a client could come to know one member of three, and be lost with it.
    """

    def __init__(self, fallback: Source, better: Source, *, keeps_fallback: bool = False) -> None:
        self._fallback = fallback
        self._better = better
        self._keeps_fallback = keeps_fallback
        self._followed: list[Subscription] = []
        super().__init__(self._combined())

    @property
    def sources(self) -> tuple[Source, Source]:
        """The fallback, and the better one."""
        return self._fallback, self._better

    def _start(self) -> None:
        self._followed = [source.subscribe(self._changed) for source in (self._fallback, self._better)]
        # Whoever subscribes reads `current` then: there is nobody to be told.
        self._current = self._combined()

    async def _stop(self) -> None:
        followed, self._followed = self._followed, []
        for subscription in followed:
            await subscription.close()

    def _changed(self, _: EndpointSet) -> None:
        self.publish(self._combined())

    def _combined(self) -> EndpointSet:
        fallback, better = self._fallback.current, self._better.current
        is_of_use = any(endpoint.health is not EndpointHealth.UNHEALTHY for endpoint in better.endpoints)
        if not is_of_use:
            # Nobody, or only the dead: then what is written down may be nearer to the truth.
            return fallback if fallback.endpoints else better if better.is_known else fallback
        if not self._keeps_fallback:
            return better
        known = set(better.addresses)
        return EndpointSet.of(
            (*better.endpoints, *(endpoint for endpoint in fallback.endpoints if endpoint.address not in known))
        )
