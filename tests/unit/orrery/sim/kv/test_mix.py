import random

from orrery.sim.kv.mix import ALWAYS, CALLS_PER_S, OPERATIONS, Mix


def test_every_mix_writes_and_reads_and_makes_so_many_calls() -> None:
    for seed in range(50):
        mix = Mix.draw(random.Random(seed), clients=3)
        assert set(ALWAYS) <= set(mix.weights) <= set(OPERATIONS)
        processes = 3 * (mix.registers + mix.lists + mix.locks + mix.leases)
        assert any(abs(processes / mix.pause_s - rate) < 1e-6 for rate in CALLS_PER_S)


def test_mixes_differ() -> None:
    mixes = [Mix.draw(random.Random(seed), clients=3) for seed in range(60)]
    assert {name for mix in mixes for name in mix.weights} == set(OPERATIONS)
    for name in ("groups", "group_keys", "watchers", "lists", "locks", "leases", "compaction_s", "timeout_s"):
        assert len({getattr(mix, name) for mix in mixes}) > 1, name
