"""Clusters in simulated worlds: the scenarios, and `orrery sim`, which plays seeds of them."""
