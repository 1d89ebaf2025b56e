"""All kinds of probes behind one call."""

from collections.abc import Sequence
from typing import Protocol

from runtime import Net, Randomness
from services.registry.checks.probes.channels import CHANNELS_MAX, Channels
from services.registry.checks.probes.grpc_health import probe_grpc
from services.registry.checks.probes.guarded_net import NETWORKS_DENIED, GuardedNet, Network
from services.registry.checks.probes.http import probe_http
from services.registry.checks.probes.result import Result
from services.registry.checks.probes.tcp import probe_tcp
from services.registry.checks.probes.tls import TlsContexts
from services.registry.domain import CheckDefinition, CheckKind

TIMEOUT_S = 10.0
"""Of a check that names none, unless its interval is shorter: Consul's."""


class Ask(Protocol):
    """Asks an instance how it is. Never raises, but for cancellation."""

    async def __call__(self, definition: CheckDefinition) -> Result:
        """One probe, from its beginning to its end."""
        ...


class Probes:
    """Asks over the network."""

    def __init__(
        self,
        net: Net,
        random: Randomness,
        *,
        denied: Sequence[Network] = NETWORKS_DENIED,
        ca_file: str = "",
        channels_max: int = CHANNELS_MAX,
    ) -> None:
        self._net = GuardedNet(net, denied)
        self._tls = TlsContexts(ca_file)
        self.channels = Channels(self._net, random, channels_max)

    async def __call__(self, definition: CheckDefinition) -> Result:
        """One probe. Raises ValueError for a kind that is not probed."""
        timeout_s = timeout_of(definition)
        if definition.kind is CheckKind.HTTP:
            return await probe_http(self._net, self._tls, definition, timeout_s)
        if definition.kind is CheckKind.TCP:
            return await probe_tcp(self._net, definition, timeout_s)
        if definition.kind is CheckKind.GRPC:
            return await probe_grpc(self.channels, self._tls, definition, timeout_s)
        raise ValueError(f"{definition.kind.value} is not probed")

    async def close(self) -> None:
        """Closes what is kept between probes."""
        await self.channels.close()


def timeout_of(definition: CheckDefinition) -> float:
    """Seconds that a probe may take: what the check says, or else 10 s, or its interval when that is shorter."""
    if definition.timeout_ms > 0:
        return definition.timeout_ms / 1000
    return min(TIMEOUT_S, definition.interval_ms / 1000) if definition.interval_ms > 0 else TIMEOUT_S
