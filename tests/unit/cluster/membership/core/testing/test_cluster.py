"""The light network does to messages what it is told, and the figures of the papers come out of it."""

import random

import pytest

from cluster.membership.core import EventKind, Mechanisms, SwimConfig
from cluster.membership.core.testing import Cluster, Weather
from runtime.sim import SeededRandomness


def make(members: int, weather: Weather | None = None, config: SwimConfig | None = None, seed: int = 1) -> Cluster:
    cluster = Cluster(SeededRandomness(random.Random(seed)), weather)
    for number in range(members):
        cluster.add(f"m{number}", config or SwimConfig())
    cluster.introduce_all()
    return cluster


def test_at_rest_each_member_sends_a_ping_and_an_ack_each_interval() -> None:
    cluster = make(30)
    assert cluster.agreed()
    cluster.run(600)
    assert sum(node.sent for node in cluster.nodes.values()) / 30 / 60 == pytest.approx(2.0, abs=0.05)
    assert cluster.heard == []


def test_a_death_is_suspected_within_about_two_intervals_and_known_to_all_at_once() -> None:
    # SWIM, section 3.1: 1 / (1 - 1/e) = 1.58 intervals to the first probe on average, and one to give up.
    delays, spreads = [], []
    for seed in range(20):
        cluster = make(20, seed=seed)
        cluster.run(30 + seed)
        start = cluster.now
        cluster.stop("m3")
        assert cluster.run(600, cluster.agreed)
        suspected = [item.tick for item in cluster.heard if item.kind is EventKind.SUSPECT]
        failed = [item.tick for item in cluster.heard if item.kind is EventKind.FAILED]
        assert len(failed) == 19
        delays.append(min(suspected) - start)
        spreads.append(max(failed) - min(failed))
    assert 10 <= sum(delays) / 20 <= 30
    assert max(spreads) < 20


def test_loss_doubles_and_lateness_do_not_hurt_the_living() -> None:
    cluster = make(30, Weather(loss=0.05, double=0.05, late=0.02))
    cluster.run(2_000)
    assert not [item for item in cluster.heard if item.kind is EventKind.FAILED]


def test_a_cut_one_way_is_helped_around() -> None:
    cluster = make(10)
    cluster.cuts.add(("m1", "m2"))
    cluster.run(1_000)
    assert not [item for item in cluster.heard if item.kind is EventKind.FAILED]
    assert cluster.nodes["m1"].swim.counters.probes_indirect > 0


def test_a_slow_member_holds_its_messages_back_and_not_its_time() -> None:
    cluster = make(5)
    cluster.set_slow("m1", slow=True)
    sent, now = cluster.nodes["m2"].received, cluster.nodes["m1"].swim.now
    cluster.run(5)
    assert cluster.nodes["m1"].swim.now == now + 5
    assert cluster.nodes["m1"].received == 0
    cluster.run(20)
    cluster.set_slow("m1", slow=False)
    assert cluster.nodes["m1"].received > 0
    assert cluster.nodes["m2"].received >= sent


def test_lifeguard_spares_the_healthy_what_slow_ones_say() -> None:
    wrong = {}
    for name, mechanisms in (("without", Mechanisms.without_lifeguard()), ("with", Mechanisms())):
        cluster = make(30, config=SwimConfig(mechanisms=mechanisms))
        for _ in range(12):
            for patient in ("m1", "m2"):
                cluster.set_slow(patient, slow=True)
            cluster.run(100)
            for patient in ("m1", "m2"):
                cluster.set_slow(patient, slow=False)
            cluster.run(5)
        wrong[name] = sum(item.kind is EventKind.FAILED and item.subject not in ("m1", "m2") for item in cluster.heard)
    assert wrong["with"] * 5 < wrong["without"]


def test_what_was_restarted_is_the_same_member_with_another_life() -> None:
    cluster = make(5)
    before = cluster.nodes["m0"].swim.member("m3")
    assert before is not None
    instance = before.details.instance
    cluster.restart("m3", SwimConfig(), ["m0"], metadata=b"again")
    assert cluster.run(200, cluster.agreed)
    after = cluster.nodes["m1"].swim.member("m3")
    assert after is not None
    assert after.details.instance > instance
    assert after.details.metadata == b"again"
    assert not [item for item in cluster.heard if item.kind is EventKind.FAILED]
