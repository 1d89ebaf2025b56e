"""Which scenario shows that a safeguard of the registry lacks, and a seed that does."""

from orrery.sim.safeguards import Proof

PROOFS = (
    Proof("notes", "registry", 9),
    Proof("verifying", "registry", 2),
)
