"""Storage engines over `runtime.disk`."""
