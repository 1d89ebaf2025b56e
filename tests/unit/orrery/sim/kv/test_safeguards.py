import pytest

from cluster.replica.sessions import SessionTable
from orrery.sim.kv.safeguards import RAFT_SAFEGUARDS, SAFEGUARDS, lacking
from services.kv import main as kv_main
from services.kv import node as node_module
from services.kv.lease import lessor as lessor_module
from services.kv.lease.lessor import Lessor
from services.kv.lease.timekeeper import Timekeeper
from services.kv.mvcc.leases import Lease


@pytest.mark.parametrize("name", ["", *SAFEGUARDS])
def test_one_is_off_while_it_lasts_and_nothing_after(name: str) -> None:
    def off() -> set[str]:
        options = vars(kv_main)["HostOptions"]()
        found = {field for field in RAFT_SAFEGUARDS if not getattr(options.safeguards, field)}
        table = SessionTable()
        if [table.admit(1, 1, 1, 0), table.admit(1, 1, 1, 0)] == [True, True]:
            found.add("session_dedupe")
        if vars(lessor_module)["Timekeeper"] is not Timekeeper:
            found.add("lease_guard")
        if vars(node_module)["Lessor"] is not Lessor:
            found.add("lease_clock")
        return found

    before = off()
    with lacking(name):
        assert off() == ({name} if name else set())
    assert off() == before == set()


def test_without_the_lease_guard_a_new_leader_gives_no_time_back() -> None:
    lease = Lease(7, 10)
    ends = {}
    for name in ("", "lease_guard"):
        with lacking(name):
            keeper: Timekeeper = vars(lessor_module)["Timekeeper"]()
            keeper.granted(lease, 0.0)
            keeper.start([lease], 9.0, 1.0)
            ends[name] = keeper.remaining_s(7, 9.0)
            keeper.stop()
    assert ends == {"": 11.0, "lease_guard": 1.0}
