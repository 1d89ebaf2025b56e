"""The roof, where the operator stands: the `orrery` command and the local supervisor."""
