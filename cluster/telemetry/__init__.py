"""What every process tells about itself: metrics, and the admin port that serves them.

The interceptor that counts RPCs is imported by its own name, `cluster.telemetry.grpc_metrics`: not every process needs
grpc, which costs 70 ms at start.
"""

from cluster.telemetry.admin import AdminServer
from cluster.telemetry.metrics import LoopLag, process_registry
from cluster.telemetry.report import VERSION, Check, Info

__all__ = ["VERSION", "AdminServer", "Check", "Info", "LoopLag", "process_registry"]
