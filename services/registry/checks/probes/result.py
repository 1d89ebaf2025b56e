"""What a probe found."""

from typing import NamedTuple

from services.registry.domain import Health


class Result(NamedTuple):
    """One answer, or the lack of one."""

    health: Health
    output: str
    """For people; not cut yet."""
