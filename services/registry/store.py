"""How plans come into kv, and leases with them. The registrar knows this door alone; tests have one without kv."""

from dataclasses import dataclass
from typing import Protocol

from services.registry.planning import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan."""

    done: bool
    """False: something was not as the plan took it to be; nothing was written."""
    revision: int
    """Of kv: what was written has it, or what was found is as of it."""
    is_repeated: bool
    """The plan may have been done by an earlier attempt: when it is not done now, that may be its own doing."""


class LeaseGone(Exception):
    """A lease that was to hold a record is over."""


class Store(Protocol):
    """All raise Unavailable."""

    async def commit(self, plan: Plan) -> Outcome:
        """Does a plan, or finds that it cannot be done, and returns when the copy has come as far as that.

        Raises LeaseGone when one of its leases is over.
        """
        ...

    async def catch_up(self) -> None:
        """Returns when the copy has all that was written anywhere before."""
        ...

    async def grant(self, ttl_s: int) -> int:
        """Makes a lease."""
        ...

    async def renew(self, lease: int) -> bool:
        """Renews a lease; False when it is over."""
        ...

    def forget(self, lease: int) -> None:
        """Ends a lease that holds nothing any more, some time or other."""
        ...
