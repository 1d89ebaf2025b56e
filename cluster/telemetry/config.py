"""What every process can be told of its admin port and its logs."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class AdminSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[admin]. Each service has a port of its own as the default."""

    listen: Annotated[
        str,
        Meta(
            description="host:port of the admin port: /metrics, /healthz, /readyz, /info. It knows no passwords: keep"
            " it off public networks."
        ),
    ]


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[log]."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severity that is logged. debug costs kv a line for every message between members."),
    ] = "info"
