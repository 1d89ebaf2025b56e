import pytest

from runtime.real import SystemRandomness
from services.registry.checks.probes import Probes
from services.registry.checks.probes.asking import timeout_of
from services.registry.domain import CheckDefinition, CheckKind, Health
from tests.unit.services.registry.checks.no_net import NoNet


@pytest.mark.parametrize(
    ("interval_ms", "timeout_ms", "expected_s"),
    [(60_000, 0, 10.0), (5_000, 0, 5.0), (5_000, 20_000, 20.0), (5_000, 100, 0.1), (0, 0, 10.0)],
)
def test_how_long_a_probe_may_take(interval_ms: int, timeout_ms: int, expected_s: float) -> None:
    definition = CheckDefinition("c", "c", CheckKind.TCP, interval_ms=interval_ms, timeout_ms=timeout_ms)
    assert timeout_of(definition) == expected_s


async def test_each_kind_is_asked_in_its_way_and_others_not_at_all() -> None:
    probes = Probes(NoNet(), SystemRandomness())
    for kind, target, word in (
        (CheckKind.HTTP, "http://127.0.0.1/", "HTTP GET http://127.0.0.1/: connection failed: there is no network"),
        (CheckKind.TCP, "127.0.0.1:1", "TCP connect 127.0.0.1:1: there is no network"),
        (CheckKind.GRPC, "127.0.0.1:1/s", "gRPC check 127.0.0.1:1/s: UNAVAILABLE"),
    ):
        result = await probes(CheckDefinition("c", "c", kind, target=target))
        assert result.health is Health.CRITICAL
        assert result.output.startswith(word)
    with pytest.raises(ValueError, match="ttl"):
        await probes(CheckDefinition("c", "c", CheckKind.TTL))
    await probes.close()
