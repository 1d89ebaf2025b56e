"""All safeguards, and where the lack of each is to be found."""

from orrery.sim.kv.proofs import PROOFS as KV
from orrery.sim.lock.proofs import PROOFS as LOCK
from orrery.sim.registry.proofs import PROOFS as REGISTRY

PROOFS = (*KV, *LOCK, *REGISTRY)
