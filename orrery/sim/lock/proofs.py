"""Which scenario shows that a safeguard of locks lacks, and a seed that does."""

from orrery.sim.safeguards import Proof

PROOFS = (
    Proof("fencing", "lock-late", 1),
    Proof("fencing", "lock-pause", 1),
    Proof("fencing", "lock-clocks", 3),
    Proof("queueing", "lock-late", 1),
)
