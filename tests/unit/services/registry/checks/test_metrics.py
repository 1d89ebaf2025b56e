from prometheus_client import CollectorRegistry, generate_latest

from services.registry.checks.metrics import CheckCounters, CheckMetrics
from services.registry.domain import CheckKind, Health


def test_what_was_counted_is_shown() -> None:
    registry, counters = CollectorRegistry(), CheckCounters()
    CheckMetrics(registry, counters, owned=lambda: 7, held_back=lambda: 2, skipped=lambda: 3)
    counters.probed(CheckKind.HTTP, Health.CRITICAL, 0.3)
    counters.probed(CheckKind.HTTP, Health.PASSING, 20.0)
    counters.lateness.add(0.002)
    counters.flips[CheckKind.TTL, Health.CRITICAL] += 1
    counters.reaped = 4
    text = generate_latest(registry).decode()
    for line in (
        'orrery_registry_probes_total{kind="http",result="critical"} 1.0',
        'orrery_registry_flips_total{health="critical",kind="ttl"} 1.0',
        "orrery_registry_checks_owned 7.0",
        "orrery_registry_flips_held_back 2.0",
        "orrery_registry_self_preservation 1.0",
        "orrery_registry_probes_skipped_total 3.0",
        "orrery_registry_reaped_total 4.0",
        'orrery_registry_probe_duration_seconds_bucket{kind="http",le="0.25"} 0.0',
        'orrery_registry_probe_duration_seconds_bucket{kind="http",le="0.5"} 1.0',
        'orrery_registry_probe_duration_seconds_bucket{kind="http",le="+Inf"} 2.0',
        'orrery_registry_probe_duration_seconds_sum{kind="http"} 20.3',
        'orrery_registry_probe_lateness_seconds_bucket{le="0.0025"} 1.0',
    ):
        assert line in text.splitlines()
