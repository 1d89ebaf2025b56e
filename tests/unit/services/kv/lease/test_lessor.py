"""The lessor on a replica without consensus, by a clock that the test moves."""

import asyncio

import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseGrantRequest, PutRequest
from cluster.replica.interface import ProposalTimeout
from cluster.replica.local import LocalReplica
from services.kv import commands
from services.kv.lease import lessor as module
from services.kv.lease.lessor import Lessor, LessorTimes, NotTimekeeper, TimeLeft, ttl_min_s
from services.kv.refusals import NO_LEADER, TIMED_OUT, Refused
from services.kv.state_machine import KvStateMachine, Result
from storage.memory import MemoryEngine

OTHER = 2


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 5000.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class ScriptedLink:
    """Another member's lessor."""

    def __init__(self) -> None:
        self.answers: list[int | NotTimekeeper] = []
        self.asked: list[tuple[int, int]] = []

    async def renew(self, member_id: int, lease_id: int) -> int:
        self.asked.append((member_id, lease_id))
        answer = self.answers.pop(0)
        if isinstance(answer, NotTimekeeper):
            raise answer
        return answer

    async def time_left(self, member_id: int, lease_id: int, *, keys: bool) -> TimeLeft:
        return TimeLeft(await self.renew(member_id, lease_id), 60)


class Setup:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.link = ScriptedLink()
        self.machine = KvStateMachine(MemoryEngine)
        self.replica: LocalReplica[Result] = LocalReplica(self.machine)
        self.lessor = Lessor(
            self.replica, lambda: self.machine.store.leases, self.clock, LessorTimes(0.2, 1.0, 2), self.link
        )
        self.machine.observe(self.lessor)

    async def become_timekeeper(self) -> None:
        while not self.lessor.is_timekeeper:
            await asyncio.sleep(0)
            await self.lessor._turn(self.clock.now_s)

    async def grant(self, lease_id: int, ttl_s: int) -> None:
        request = LeaseGrantRequest(ID=lease_id, TTL=ttl_s)
        await self.replica.propose(commands.encode(commands.LEASE_GRANT, request), timeout_s=1)
        put = PutRequest(key=b"key-%d" % lease_id, lease=lease_id)
        await self.replica.propose(commands.encode(commands.PUT, put), timeout_s=1)

    async def move(self, seconds: float) -> None:
        self.clock.now_s += seconds
        await self.lessor._turn(self.clock.now_s)

    @property
    def keys(self) -> int:
        return len(self.machine.store.live)


@pytest.fixture
async def setup() -> Setup:
    setup = Setup()
    await setup.become_timekeeper()
    return setup


async def test_keys_go_when_the_time_is_over(setup: Setup) -> None:
    await setup.grant(7, 10)
    await setup.move(9.9)
    assert setup.keys == 1
    await setup.move(0.1)
    assert setup.keys == 0
    assert await setup.lessor.renew(7) == 0
    assert await setup.lessor.time_left(7, keys=True) == TimeLeft(-1)


async def test_renewing(setup: Setup) -> None:
    await setup.grant(7, 10)
    await setup.move(9)
    assert await setup.lessor.time_left(7, keys=True) == TimeLeft(1, 10, (b"key-7",))
    barriers = setup.replica.read_barriers
    entries = len(setup.replica.log)
    assert await setup.lessor.renew(7) == 10
    assert setup.replica.read_barriers == barriers + 1, "leadership must be proved"
    assert len(setup.replica.log) == entries, "renewing does not go through the log"
    await setup.move(9.9)
    assert setup.keys == 1


async def test_many_renewals_share_one_proof(setup: Setup) -> None:
    for lease_id in (7, 8, 9):
        await setup.grant(lease_id, 10)
    await setup.grant(6, 1000)
    await setup.move(1)
    setup.clock.now_s += 300
    await setup.lessor._turn(setup.clock.now_s)
    for lease_id in (17, 18):
        await setup.grant(lease_id, 10)
    lease = setup.machine.store.leases.get(6)
    assert lease is not None
    assert lease.remaining_ttl_s
    barriers = setup.replica.read_barriers
    assert await setup.lessor.renew_all((17, 18, 17)) == [10, 10, 10]
    assert setup.replica.read_barriers == barriers + 1
    # What is over, and what has a checkpoint, go their own way.
    assert await setup.lessor.renew_all((17, 7, 6)) == [10, 0, 1000]
    assert lease.remaining_ttl_s == 0
    setup.replica.set_leader(OTHER)
    setup.link.answers = [10, 0]
    assert await setup.lessor.renew_all((17, 5)) == [10, 0]


async def test_what_is_over_cannot_be_renewed_any_more(setup: Setup) -> None:
    await setup.grant(7, 10)
    setup.clock.now_s += 10
    task = asyncio.create_task(setup.lessor.renew_here(7))
    while 7 not in setup.lessor._ended:
        await asyncio.sleep(0)
    await setup.lessor._turn(setup.clock.now_s)
    assert await task == 0


async def test_a_new_leader_gives_everyone_their_time_again(setup: Setup) -> None:
    await setup.grant(7, 10)
    await setup.move(9)
    setup.replica.set_leader(OTHER)
    await asyncio.sleep(0)
    assert not setup.lessor.is_timekeeper
    await setup.move(100)
    assert setup.keys == 1, "only the leader's clock counts"
    setup.replica.set_leader(setup.replica.member_id)
    await setup.become_timekeeper()
    await setup.move(10.9)
    assert setup.keys == 1
    await setup.move(0.2)
    assert setup.keys == 0


async def test_a_leader_takes_over_only_with_its_epoch_in_the_log(setup: Setup) -> None:
    await setup.grant(7, 10)
    setup.replica.set_leader(setup.replica.member_id)
    await asyncio.sleep(0)
    assert setup.replica.leadership.is_self
    with pytest.raises(NotTimekeeper):
        await setup.lessor.renew_here(7)
    setup.replica.fail_next(ProposalTimeout("lost"))
    with pytest.raises(ProposalTimeout):
        await setup.lessor._turn(setup.clock.now_s)
    assert not setup.lessor.is_timekeeper
    await setup.become_timekeeper()
    assert setup.machine.store.leases.epoch == setup.replica.leadership.term
    assert await setup.lessor.renew_here(7) == 10


async def test_checkpoints_reach_the_state_and_renewing_clears_them(setup: Setup) -> None:
    await setup.grant(7, 1000)
    await setup.move(300)
    lease = setup.machine.store.leases.get(7)
    assert lease is not None
    assert lease.remaining_ttl_s == 700
    assert await setup.lessor.renew(7) == 1000
    assert lease.remaining_ttl_s == 0


async def test_an_end_that_could_not_be_proposed_is_proposed_again(setup: Setup) -> None:
    await setup.grant(7, 10)
    setup.replica.fail_next(ProposalTimeout("lost"))
    with pytest.raises(ProposalTimeout):
        await setup.move(10)
    assert setup.keys == 1
    await setup.move(3)
    assert setup.keys == 0


async def test_followers_ask_the_leader_until_one_answers(setup: Setup) -> None:
    setup.replica.set_leader(OTHER)
    await asyncio.sleep(0)
    setup.link.answers = [NotTimekeeper(), 60]
    assert await setup.lessor.renew(7) == 60
    assert setup.link.asked == [(OTHER, 7)] * 2
    setup.link.answers = [NotTimekeeper()] * 1000
    with pytest.raises(Refused) as caught:
        await setup.lessor.renew(7)
    assert caught.value.refusal is TIMED_OUT
    setup.replica.set_leader(0)
    with pytest.raises(Refused) as caught:
        await setup.lessor.time_left(7, keys=False)
    assert caught.value.refusal is NO_LEADER


async def test_a_process_that_stood_still_gives_the_time_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.001)
    setup = Setup()
    task = asyncio.create_task(setup.lessor.run())
    while not setup.lessor.is_timekeeper:
        await asyncio.sleep(0)
    await setup.grant(7, 10)
    forgiven = asyncio.Event()
    forgive = setup.lessor._timekeeper.forgive

    def noted(stalled_s: float) -> None:
        forgive(stalled_s)
        forgiven.set()

    monkeypatch.setattr(type(setup.lessor._timekeeper), "forgive", lambda _, stalled_s: noted(stalled_s))
    setup.clock.now_s += 60
    await forgiven.wait()
    assert setup.keys == 1
    assert await setup.lessor.renew(7) == 10
    task.cancel()


@pytest.mark.parametrize(("election_s", "ttl_s"), [(1.0, 2), (0.5, 1), (3.0, 5)])
def test_the_shortest_ttl_is_etcds(election_s: float, ttl_s: int) -> None:
    assert ttl_min_s(election_s) == ttl_s
