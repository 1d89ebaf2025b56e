"""Asking an instance how it is: by HTTP, TCP and gRPC."""

from services.registry.checks.probes.asking import Ask, Probes
from services.registry.checks.probes.guarded_net import NETWORKS_DENIED, GuardedNet
from services.registry.checks.probes.result import Result

__all__ = ["NETWORKS_DENIED", "Ask", "GuardedNet", "Probes", "Result"]
