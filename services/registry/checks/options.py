"""How a process runs its checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.registry.checks.judging import Damping
from services.registry.checks.preservation import Allowance
from services.registry.checks.probes.channels import CHANNELS_MAX
from services.registry.checks.probes.guarded_net import NETWORKS_DENIED, Network


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Named limits and times. The defaults carry some ten thousand checks a process."""

    damping: Damping = field(default_factory=Damping)
    allowance: Allowance = field(default_factory=Allowance)
    """Turns to critical of this process's checks that are believed at once."""
    nodes_allowance: Allowance = field(default_factory=lambda: Allowance(share_max=0.5, count_min=3))
    """The same for deaths of nodes, among all nodes: who sees most of the others dead is cut off itself."""
    probes_max: int = 256
    """Probes under way at a time; each is a connection and a task."""
    first_probe_s_max: float = 10.0
    """A new check is asked within this, or its interval if that is shorter."""
    writes_max: int = 32
    """Writes under way at a time."""
    tick_s: float = 0.5
    """How often deadlines are looked at: they are as late as this at most."""
    sweep_s: float = 30.0
    """How often everything is looked at anew, whatever changes were told."""
    retry_s: float = 0.5
    """Pause after kv gave no answer; doubles up to `retry_s_max`."""
    retry_s_max: float = 5.0
    unknown_node_after_s: float = 60.0
    """How long this process has been with the others before it calls a marked node that none of them knows dead."""
    node_deregister_after_s: float = 72 * 3600.0
    """After this time in critical a node goes, with all that is on it: Consul's default. 0: never."""
    channels_max: int = CHANNELS_MAX
    """gRPC channels that are kept between probes."""
    probe_ca_file: str = ""
    """Certificates that probes by TLS trust, in place of the system's."""
    networks_denied: Sequence[Network] = NETWORKS_DENIED
    """Networks that probes must not reach."""
