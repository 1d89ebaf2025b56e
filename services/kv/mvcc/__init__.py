"""The store of revisions: what the replicated commands act upon. Pure: no I/O, no clock, no randomness."""
