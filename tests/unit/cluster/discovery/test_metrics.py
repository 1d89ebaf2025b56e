import random

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.discovery import (
    BalancedOptions,
    DiscoveryMetrics,
    DiscoverySection,
    StaticSource,
    kv_source,
    service_source,
)
from cluster.discovery import metrics as metrics_module
from runtime import Runtime
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness
from tests.unit.cluster.discovery.simulated import Town, Traffic, play


def test_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    metrics = DiscoveryMetrics(registry)

    async def scenario(town: Town) -> None:
        channel = await town.channel(options=BalancedOptions(name="town"))
        metrics.add(channel)
        town.failing.add("s2")
        async with Traffic(town, channel, 4) as traffic:
            await traffic.during(3.0)

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"orrery_discovery_{name}", {"target": "town", **labels})

        picks = [value("picks_total", endpoint=f"s{number}:80") for number in range(3)]
        assert picks == [target.picks for target in channel.pool.targets.values()]
        assert all(picks)
        assert value("failures_total", endpoint="s2:80") == len(traffic.failures)
        assert value("in_flight", endpoint="s0:80") == 0
        assert value("endpoints", state="ready") == 3
        assert value("endpoints", state="ejected") == 1
        assert value("endpoints", state="usable") == 2
        assert value("ejections_total", reason="consecutive_failures") == 1
        assert value("ejections_total", reason="success_rate") == 0
        for name in ("retries_total", "retries_refused_total", "waiting", "panicking", "ejections_spared_total"):
            assert value(name) == 0
        assert value("resolves_total") == 1
        monkeypatch.setattr(metrics_module, "ENDPOINTS_LABELLED_MAX", 2)
        assert value("picks_total", endpoint="s2:80") is None

        async def close(_: Runtime) -> None:
            await channel.close()

        await town.on_client(close)
        assert value("resolves_total") is None

    play(scenario)


def test_sources() -> None:
    registry = CollectorRegistry()
    metrics = DiscoveryMetrics(registry)
    net, source, clock = StreamNet(), SeededRandomness(random.Random(1)), SystemClock()
    section = DiscoverySection(registry=("a:1",))
    metrics.add_source(kv_source(section, ["b:1"], net=net, random=source, clock=clock))
    metrics.add_source(service_source(section, "lock", net=net, random=source, clock=clock))
    metrics.add_source(StaticSource(["c:1"]))
    assert registry.get_sample_value("orrery_discovery_followed", {"target": "lock"}) == 0
    assert registry.get_sample_value("orrery_discovery_followed", {"target": "kv"}) == 0
    assert registry.get_sample_value("orrery_discovery_doubted_total", {"target": "kv"}) == 0
    assert b"orrery_discovery_watch_failures" in generate_latest(registry)
