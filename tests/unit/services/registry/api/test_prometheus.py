import pytest

from cluster.http import HttpError
from services.registry.domain import Instance, Node
from tests.unit.services.registry.api.asking import Registry


@pytest.fixture
async def registry() -> Registry:
    registry = Registry()
    node = Node("kv-1", "10.0.0.1", {"rack": "7"})
    metadata = {"admin": "10.0.0.1:2391", "the-version": "1"}
    await registry.registrar.register(
        Instance("kv-1", "kv-1", "kv", port=2379, tags=("a", "b"), metadata=metadata), (), node=node
    )
    await registry.register("web", Address="2001:db8::1", Port=80, Check={"TTL": "1m"})
    return registry


async def test_targets_and_labels(registry: Registry) -> None:
    kv, web = (await registry.get("/v1/sd/prometheus")).json
    assert kv == {
        "targets": ["10.0.0.1:2379"],
        "labels": {
            "__meta_orrery_service": "kv",
            "__meta_orrery_service_id": "kv-1",
            "__meta_orrery_node": "kv-1",
            "__meta_orrery_address": "10.0.0.1",
            "__meta_orrery_port": "2379",
            "__meta_orrery_tags": ",a,b,",
            "__meta_orrery_health": "passing",
            "__meta_orrery_node_metadata_rack": "7",
            "__meta_orrery_metadata_admin": "10.0.0.1:2391",
            "__meta_orrery_metadata_the_version": "1",
        },
    }
    assert web["targets"] == ["[2001:db8::1]:80"]
    assert (web["labels"]["__meta_orrery_health"], web["labels"]["__meta_orrery_tags"]) == ("critical", "")


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ("?port=admin", ["10.0.0.1:2391"]),
        ("?port=none", []),
        ("?port=the-version", []),
        ("?service=web", ["[2001:db8::1]:80"]),
        ("?service=web&service=kv", ["[2001:db8::1]:80", "10.0.0.1:2379"]),
        ("?service=none", []),
        ("?tag=a&tag=b", ["10.0.0.1:2379"]),
        ("?tag=a&tag=c", []),
        ("?passing", ["10.0.0.1:2379"]),
        ("?passing=false&service=web", ["[2001:db8::1]:80"]),
    ],
)
async def test_choices(registry: Registry, query: str, targets: list[str]) -> None:
    groups = (await registry.get(f"/v1/sd/prometheus{query}")).json
    assert [target for group in groups for target in group["targets"]] == targets


async def test_a_process_that_listens_everywhere_is_reached_where_its_service_is(registry: Registry) -> None:
    for admin in ("0.0.0.0:9", "[::]:9"):
        instance = Instance("kv-1", "kv-1", "kv", port=2379, metadata={"admin": admin})
        await registry.registrar.register(instance, ())
        (group,) = (await registry.get("/v1/sd/prometheus?port=admin")).json
        assert group["targets"] == ["10.0.0.1:9"]


async def test_what_is_refused(registry: Registry) -> None:
    for query in ("?prot=admin", "?" + "&".join(["tag=a"] * 100)):
        with pytest.raises(HttpError) as refused:
            await registry.get(f"/v1/sd/prometheus{query}")
        assert refused.value.status == 400
    assert (await registry.put("/v1/sd/prometheus")).status == 405


async def test_before_kv_was_heard_prometheus_keeps_what_it_has() -> None:
    with pytest.raises(HttpError) as refused:
        await Registry(heard=False).get("/v1/sd/prometheus")
    assert refused.value.status == 503
