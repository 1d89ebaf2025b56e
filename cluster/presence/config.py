"""The section `[registration]` that a service's configuration can have."""

from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.http.address import split_address


class RegistrationSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[registration]."""

    enabled: Annotated[
        bool,
        Meta(description="Whether this process registers itself. Otherwise nobody hears of it from the registry."),
    ] = True
    endpoints: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of processes of the registry, beside those that the membership knows. Needed only"
            " where this process takes no part in the membership."
        ),
    ] = ()
    tags: Annotated[tuple[str, ...], Meta(description="Tags of the instance, by which clients can choose.")] = ()
    ttl_ms: Annotated[
        int,
        Meta(
            description="Milliseconds without a report after which the instance is critical. It reports three times as"
            " often. Short, a busy machine makes it critical; long, one that hangs gets calls for longer.",
            ge=1_000,
            le=3_600_000,
        ),
    ] = 15_000

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            split_address(endpoint)
