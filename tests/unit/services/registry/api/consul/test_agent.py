"""Registrations and reports through the agent's API: codes and messages that clients act upon."""

import json

import pytest

from services.registry.domain import CheckKind, Health
from tests.unit.services.registry.api.asking import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def statuses(registry: Registry) -> dict[str, str]:
    return {key: check["Status"] for key, check in (await registry.get("/v1/agent/checks")).json.items()}


async def test_register_and_deregister(registry: Registry) -> None:
    await registry.register("web", ID="web-1", Address="10.0.0.9", Port=80, Tags=["a"], Meta={"k": "v"})
    shape = (await registry.get("/v1/agent/services")).json["web-1"]
    index = shape["ModifyIndex"]
    place = {"Address": "10.0.0.9", "Port": 80}
    assert shape == {
        "ID": "web-1",
        "Service": "web",
        "Tags": ["a"],
        "Meta": {"k": "v"},
        "Port": 80,
        "Address": "10.0.0.9",
        "TaggedAddresses": {"lan_ipv4": place, "wan_ipv4": place},
        "Weights": {"Passing": 1, "Warning": 1},
        "EnableTagOverride": False,
        "CreateIndex": index,
        "ModifyIndex": index,
        "Datacenter": "dc1",
    }
    assert (await registry.get("/v1/agent/service/web-1")).json == shape
    assert (await registry.put("/v1/agent/service/deregister/web-1")).status == 200
    assert (await registry.get("/v1/agent/services")).json == {}
    again = await registry.put("/v1/agent/service/deregister/web-1")
    assert again.status == 404
    assert again.text == ('Unknown service ID "web-1". Ensure that the service ID is passed, not the service name.')
    missing = await registry.get("/v1/agent/service/web-1")
    assert (missing.status, missing.text) == (404, "unknown service ID: web-1")


async def test_an_instance_without_an_address_has_that_of_who_registers_it(registry: Registry) -> None:
    await registry.register("web", Port=80)
    (entry,) = await registry.health("web")
    assert entry["Service"]["Address"] == "192.0.2.7"
    body = json.dumps({"Name": "web", "Port": 80}).encode()
    await registry.ask("PUT", "/v1/agent/service/register", body, peer="[2001:db8::1]:5")
    (entry,) = await registry.health("web")
    assert entry["Service"]["Address"] == "2001:db8::1"
    assert set(entry["Service"]["TaggedAddresses"]) == {"lan_ipv6", "wan_ipv6"}
    await registry.ask("PUT", "/v1/agent/service/register", body, peer="[::ffff:10.0.0.3]:5")
    (entry,) = await registry.health("web")
    assert entry["Service"]["Address"] == "10.0.0.3"
    await registry.ask("PUT", "/v1/agent/service/register", body, peer="")
    (entry,) = await registry.health("web")
    assert entry["Service"]["Address"] == ""


async def test_names_of_fields_in_any_case_and_both_spellings(registry: Registry) -> None:
    await registry.put(
        "/v1/agent/service/register",
        {
            "name": "web",
            "id": "w",
            "port": 1,
            "check": {"ttl": "20s", "deregister_critical_service_after": "90s", "CHECKID": "mine"},
            "unknown": {"field": 1},
        },
    )
    check = registry.catalogue.check("orrery", "mine")
    assert check is not None
    assert (check.definition.ttl_ms, check.definition.deregister_critical_after_ms) == (20_000, 90_000)


async def test_a_check_of_each_kind(registry: Registry) -> None:
    await registry.register(
        "web",
        Check={"TTL": "90s", "Status": "passing"},
        Checks=[
            {
                "Name": "page",
                "CheckID": "page",
                "HTTP": "http://127.0.0.1:80/health",
                "Method": "POST",
                "Header": {"X-A": ["1", "2"]},
                "Body": "hello",
                "Interval": "10s",
                "Timeout": "1500ms",
                "TLSSkipVerify": True,
                "SuccessBeforePassing": 2,
                "FailuresBeforeCritical": 3,
                "DeregisterCriticalServiceAfter": "10s",
            },
            {"TCP": "127.0.0.1:80", "Interval": "100ms"},
            {"GRPC": "127.0.0.1:80/svc", "GRPCUseTLS": True, "Interval": 5_000_000_000},
        ],
    )
    found = {check.definition.id: check.definition for check in registry.catalogue.checks()}
    assert list(found) == ["page", "service:web:1", "service:web:3", "service:web:4"]
    page = found["page"]
    assert (page.kind, page.target, page.method) == (CheckKind.HTTP, "http://127.0.0.1:80/health", "POST")
    assert (page.headers, page.body, page.skip_tls_verification) == ((("X-A", "1"), ("X-A", "2")), "hello", True)
    assert (page.interval_ms, page.timeout_ms) == (10_000, 1_500)
    assert (page.successes_before_passing, page.failures_before_critical) == (2, 3)
    assert page.deregister_critical_after_ms == 60_000, "Consul's minimum"
    assert found["service:web:1"].ttl_ms == 90_000
    assert found["service:web:1"].initial is Health.PASSING
    tcp, grpc = found["service:web:3"], found["service:web:4"]
    assert (tcp.kind, tcp.interval_ms) == (CheckKind.TCP, 1_000), "Consul's minimum"
    assert (grpc.kind, grpc.target, grpc.use_tls, grpc.interval_ms) == (
        CheckKind.GRPC,
        "127.0.0.1:80/svc",
        True,
        5_000,
    )
    shown = (await registry.get("/v1/agent/checks")).json
    assert (shown["page"]["Interval"], shown["page"]["Timeout"], shown["page"]["Type"]) == ("10s", "1.5s", "http")


async def test_checks_that_are_not_named_stay_unless_they_are_to_be_replaced(registry: Registry) -> None:
    await registry.register("web", Checks=[{"CheckID": "a", "TTL": "1m"}, {"CheckID": "b", "TTL": "1m"}])
    await registry.register("web", Check={"CheckID": "a", "TTL": "1m"})
    assert set(await statuses(registry)) == {"a", "b"}
    for query in ("", "=true"):
        await registry.register("web", Checks=[{"CheckID": "a", "TTL": "1m"}, {"CheckID": "b", "TTL": "1m"}])
        body = {"Name": "web", "Check": {"CheckID": "a", "TTL": "1m"}}
        await registry.put(f"/v1/agent/service/register?replace-existing-checks{query}", body)
        assert set(await statuses(registry)) == {"a"}


async def test_an_id_may_go_to_another_service(registry: Registry) -> None:
    await registry.register("web", ID="x")
    await registry.register("db", ID="x")
    assert (await registry.get("/v1/catalog/services")).json == {"db": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing service name"),
        ({"ID": "x"}, "Missing service name"),
        ({"Name": "web", "Address": "0.0.0.0"}, "Invalid service address"),
        ({"Name": "web", "Address": "::"}, "Invalid service address"),
        ({"Name": "web", "Check": {"Name": "c"}}, "Invalid check: TTL must be > 0 for TTL checks"),
        ({"Name": "web", "Check": {"TTL": "-1s"}}, "Invalid check: TTL must be > 0 for TTL checks"),
        (
            {"Name": "web", "Check": {"TTL": "1s", "Interval": "1s"}},
            "Invalid check: Interval and TTL cannot both be specified",
        ),
        (
            {"Name": "web", "Check": {"HTTP": "http://a"}},
            "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
        ),
        (
            {"Name": "web", "Checks": [{"TTL": "1s", "Status": "bad"}]},
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            {"Name": "web", "Check": {"TTL": "10 s"}},
            'Request decode failed: time: unknown unit " s" in duration "10 s"',
        ),
        (
            {"Name": "web", "Port": "80"},
            "Request decode failed: json: cannot unmarshal string into Go struct field ServiceDefinition.Port"
            " of type int",
        ),
        ({"Name": "web", "Weights": {"Passing": 0}}, "Invalid Weights: Passing must be greater than 0"),
        ({"Name": "web", "Weights": {"Warning": 2}}, "Invalid Weights: Passing must be greater than 0"),
        ({"Name": "web", "Kind": "connect-proxy"}, "Validation failed: Kind and SocketPath are not served here"),
        ({"Name": "web", "Connect": {"SidecarService": {}, "Native": True}},
         "Validation failed: Connect and Proxy are not served here"),
        (
            {"Name": "web", "Check": {"Args": ["/bin/true"], "Interval": "1s"}},
            "Invalid check: args is not served here; there are TTL, HTTP, TCP and GRPC",
        ),
        (
            {"Name": "web", "Check": {"TTL": "1s", "FailuresBeforeWarning": 3, "FailuresBeforeCritical": 2}},
            "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
    ],
)  # fmt: skip
async def test_registrations_that_are_refused(registry: Registry, body: object, message: str) -> None:
    answer = await registry.put("/v1/agent/service/register", body)
    assert (answer.status, answer.text) == (400, message)
    assert (await registry.get("/v1/agent/services")).json == {}


async def test_limits_of_what_is_kept_are_told_by_the_field(registry: Registry) -> None:
    answer = await registry.put("/v1/agent/service/register", {"Name": "w", "Tags": ["t"] * 500})
    assert answer.status == 400
    assert "tags" in answer.text


async def test_reports(registry: Registry) -> None:
    await registry.register("web", Check={"CheckID": "beat", "TTL": "1m"})
    for path, status in (("pass", "passing"), ("warn", "warning"), ("fail", "critical")):
        answer = await registry.put(f"/v1/agent/check/{path}/beat?note=because%20{path}")
        assert (answer.status, answer.body) == (200, b"")
        check = (await registry.get("/v1/agent/checks")).json["beat"]
        assert (check["Status"], check["Output"]) == (status, f"because {path}")
    answer = await registry.put("/v1/agent/check/update/beat", {"Status": "passing", "Output": "x" * 10_000})
    assert answer.status == 200
    check = (await registry.get("/v1/agent/checks")).json["beat"]
    assert check["Status"] == "passing"
    assert len(check["Output"]) <= 4096
    answer = await registry.put("/v1/agent/check/update/beat", {"Status": "fine"})
    assert (answer.status, answer.text) == (400, "Invalid check status: 'fine'")


async def test_reports_that_find_nothing_tell_the_client_to_register_again(registry: Registry) -> None:
    for path in ("pass/x", "warn/x", "fail/x", "deregister/x"):
        answer = await registry.put(f"/v1/agent/check/{path}")
        assert answer.status == 404
        assert answer.text == 'Unknown check ID "x". Ensure that the check ID is passed, not the check name.'
    answer = await registry.put("/v1/agent/check/update/a%2Fb", {"Status": "passing"})
    assert (answer.status, '"a/b"' in answer.text) == (404, True)
    await registry.register("web", Check={"CheckID": "page", "HTTP": "http://a/", "Interval": "10s"})
    answer = await registry.put("/v1/agent/check/pass/page")
    assert (answer.status, answer.text) == (400, 'CheckID "page" does not have associated TTL')


async def test_checks_by_themselves(registry: Registry) -> None:
    await registry.register("web", ID="web-1")
    answer = await registry.put("/v1/agent/check/register", {"Name": "mem", "ServiceID": "web-1", "TTL": "30s"})
    assert answer.status == 200
    shown = (await registry.get("/v1/agent/checks")).json["mem"]
    assert (shown["ServiceID"], shown["ServiceName"], shown["Status"]) == ("web-1", "web", "critical")
    await registry.put("/v1/agent/check/register", {"ID": "d", "Name": "disk", "service_id": "web-1", "TTL": "30s"})
    assert set(await statuses(registry)) == {"mem", "d"}
    answer = await registry.put("/v1/agent/check/register", {"Name": "mem", "ServiceID": "none", "TTL": "30s"})
    assert (answer.status, answer.text) == (404, 'ServiceID "none" does not exist')
    answer = await registry.put("/v1/agent/check/register", {"TTL": "30s"})
    assert (answer.status, answer.text) == (400, "Missing check name")
    assert (await registry.put("/v1/agent/check/deregister/mem")).status == 200
    assert set(await statuses(registry)) == {"d"}


async def test_service_maintenance(registry: Registry) -> None:
    await registry.register("web", ID="w")
    for _ in range(2):
        assert (await registry.put("/v1/agent/service/maintenance/w?enable=true&reason=upgrade")).status == 200
    check = (await registry.get("/v1/agent/checks")).json["_service_maintenance:w"]
    assert (check["Status"], check["Notes"], check["Type"]) == ("critical", "upgrade", "maintenance")
    assert await registry.ids("web", "?passing") == []
    judged = await registry.get("/v1/agent/health/service/id/w")
    assert (judged.status, judged.json["AggregatedStatus"]) == (503, "maintenance")
    for _ in range(2):
        assert (await registry.put("/v1/agent/service/maintenance/w?enable=False")).status == 200
    assert await registry.ids("web", "?passing") == ["w"]
    for path, status, message in (
        ("w", 400, "Missing value for enable"),
        ("w?enable=x", 400, 'Invalid value for enable: "x"'),
        ("?enable=true", 400, "Missing service ID"),
        ("none?enable=true", 404, 'No service registered with ID "none"'),
        ("none?enable=false", 404, 'No service registered with ID "none"'),
    ):
        answer = await registry.put(f"/v1/agent/service/maintenance/{path}")
        assert (answer.status, answer.text) == (status, message)


async def test_node_maintenance(registry: Registry) -> None:
    await registry.register("web")
    for _ in range(2):
        assert (await registry.put("/v1/agent/maintenance?enable=true")).status == 200
    check = (await registry.get("/v1/agent/checks")).json["_node_maintenance"]
    assert "no reason was provided" in check["Notes"]
    assert await registry.ids("web", "?passing") == []
    for _ in range(2):
        assert (await registry.put("/v1/agent/maintenance?enable=false")).status == 200
    assert await registry.ids("web", "?passing") == ["web"]


async def test_health_by_id_and_by_name(registry: Registry) -> None:
    await registry.register("web", ID="a", Check={"TTL": "1m", "Status": "passing"})
    for status, code in (("passing", 200), ("warning", 429), ("critical", 503)):
        await registry.put("/v1/agent/check/update/service:a", {"Status": status})
        answer = await registry.get("/v1/agent/health/service/id/a")
        assert (answer.status, answer.headers["x-consul-reason"]) == (code, status)
        assert answer.json["AggregatedStatus"] == status
        assert answer.json["Service"]["ID"] == "a"
        assert [check["CheckID"] for check in answer.json["Checks"]] == ["service:a"]
        answer = await registry.get("/v1/agent/health/service/id/a?format=text")
        assert (answer.status, answer.content_type, answer.text) == (code, "text/plain", status)
    await registry.register("web", ID="b", Check={"TTL": "1m", "Status": "passing"})
    answer = await registry.get("/v1/agent/health/service/name/web")
    assert (answer.status, answer.headers["x-consul-reason"]) == (503, "critical")
    assert [entry["Service"]["ID"] for entry in answer.json] == ["a", "b"]
    missing = await registry.get("/v1/agent/health/service/id/x%0d%0aevil:%201")
    assert (missing.status, missing.json) == (404, {"AggregatedStatus": "critical", "Checks": None, "Service": None})
    assert missing.headers["x-consul-reason"] == "ServiceId x??evil: 1 not found"
    missing = await registry.get("/v1/agent/health/service/name/x")
    assert (missing.status, missing.json) == (404, [])


async def test_filters(registry: Registry) -> None:
    await registry.register("web", ID="a", Meta={"v": "1"}, Check={"TTL": "1m"})
    await registry.register("web", ID="b", Meta={"v": "2"}, Check={"TTL": "1m", "Status": "passing"})
    services = await registry.get("/v1/agent/services?filter=Meta.v==2")
    assert list(services.json) == ["b"]
    checks = await registry.get('/v1/agent/checks?filter=Status==passing+and+"/ServiceID"==b')
    assert list(checks.json) == ["service:b"]
    bad = await registry.get("/v1/agent/services?filter=Nope==2")
    assert bad.status == 400


async def test_blocking_by_hash_is_refused_rather_than_answered_at_once(registry: Registry) -> None:
    await registry.register("web")
    assert (await registry.get("/v1/agent/service/web?hash=")).status == 200
    assert (await registry.get("/v1/agent/service/web?hash=abc&wait=1m")).status == 400


async def test_what_is_told_while_kv_is_away(registry: Registry) -> None:
    await registry.register("web", Check={"TTL": "1m"})
    registry.store.away = True
    for path, body in (
        ("/v1/agent/service/register", {"Name": "db"}),
        ("/v1/agent/service/deregister/web", None),
        ("/v1/agent/check/pass/service:web", None),
        ("/v1/catalog/register", {"Node": "n", "Address": "10.0.0.1"}),
    ):
        answer = await registry.put(path, body)
        assert (answer.status, answer.text) == (500, "No cluster leader"), path
