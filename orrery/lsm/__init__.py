"""`orrery lsm`: looks into an engine's directory."""
