"""The judges are judged: with a safeguard off they find a seed that shows it, and with it on the same seed passes.

Method: see orrery.sim.kv.traps, orrery.sim.lock.faults and orrery.sim.registry.scenarios. The seeds are those of their
`proofs.py`; `orrery sim safeguards` finds new ones when a change of the code has made other runs of them.
"""

import pytest

from orrery.sim.kv.safeguards import SAFEGUARDS
from orrery.sim.lock.scenarios import SAFEGUARDS as LOCK_SAFEGUARDS
from orrery.sim.proofs import PROOFS
from orrery.sim.registry.scenarios import SAFEGUARDS as REGISTRY_SAFEGUARDS
from orrery.sim.safeguards import JUDGES, Proof, find

NEAR = 12
"""Seeds that are tried in turn, from the known one on: a change elsewhere makes other runs of all of them."""


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: f"{proof.safeguard}-{proof.scenario}")
def test_its_lack_is_found_and_only_its_lack(proof: Proof) -> None:
    found = find(proof, range(proof.seed, proof.seed + NEAR))
    assert found.checker in JUDGES, "no seed shows it"
    assert found.passes


def test_every_safeguard_has_its_proof() -> None:
    assert {proof.safeguard for proof in PROOFS} == {*SAFEGUARDS, *LOCK_SAFEGUARDS, *REGISTRY_SAFEGUARDS}
