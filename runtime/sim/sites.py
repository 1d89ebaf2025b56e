"""Failpoints and buggify sites, as a world arms them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from runtime import buggify, failpoints

if TYPE_CHECKING:
    from runtime.sim.host import SimHost
    from runtime.sim.world import World


class Sites:
    """Belongs to a World. While the world runs, `runtime.buggify` asks here; what was armed is disarmed at its end."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = world.stream("buggify")
        self._active: dict[str, bool] = {}
        self.fired: dict[str, int] = {}
        """How often each buggify site fired."""

    def arm(self, host: "SimHost", name: str, action: Callable[[], None] | None = None, *, skip: int = 0) -> None:
        """At the failpoint `name`, when `host` passes it for the (skip + 1)-th time, does `action`; None crashes it.

        Raises FailpointError. One arming a name: a later one replaces it.
        """
        passes = 0

        def hit() -> None:
            nonlocal passes
            if self._world.loop.current is not host.process:
                return
            passes += 1
            if passes == skip + 1:
                host.tell(f"failpoint {name}")
                (action or host.crash)()

        failpoints.arm(name, hit)

    def watch(self, name: str, hit: "Callable[[SimHost], None]") -> None:
        """Calls `hit(host)` whenever any host passes the failpoint `name`. Raises FailpointError."""

        def passed() -> None:
            host = self._world.loop.current.host
            if host is not None:
                hit(cast("SimHost", host))

        failpoints.arm(name, passed)

    def disarm(self, name: str) -> None:
        """Makes the failpoint `name` a place like any other again. Raises FailpointError."""
        failpoints.arm(name, _nothing)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Answers for `runtime.buggify` while the block runs."""
        buggify.install(self._fires)
        try:
            yield
        finally:
            buggify.install(None)
            failpoints.disarm_all()

    def _fires(self, site: str) -> bool:
        options = self._world.options
        active = self._active.get(site)
        if active is None:
            # By a stream of the site's own, so that a new site elsewhere does not change which ones are active.
            draw = self._world.stream("buggify-site", site).random()
            active = self._active[site] = draw < options.buggify_site_probability
        if not active or self._random.random() >= options.buggify_fire_probability:
            return False
        self.fired[site] = self.fired.get(site, 0) + 1
        self._world.trace.tell(self._world.virtual_s, self._world.loop.current.name, f"buggify {site}")
        return True


def _nothing() -> None:
    pass
