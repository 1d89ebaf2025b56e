"""What a program does with py-consul, run by that client's own environment: `session.py HOST:PORT HOST:PORT...`.

Every function whose name begins with `check_` is one check on services of its own; it gets a client of the first
process and one of the last. Prints one JSON object: the name of each check, and "ok" or what went wrong.
"""

import json
import sys
import threading
import time
import traceback

import consul
import consul.exceptions

WAIT_S = 20.0


def wait_for(what, probe):
    deadline = time.monotonic() + WAIT_S
    while not probe():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


def ids(client, service, **arguments):
    _, entries = client.health.service(service, **arguments)
    return sorted(entry["Service"]["ID"] for entry in entries)


def check_register_and_find(first, last):
    assert first.agent.service.register(
        "py-find",
        service_id="py-find-1",
        address="10.1.2.3",
        port=8080,
        tags=["v1", "eu"],
        meta={"zone": "a"},
        weights={"Passing": 10, "Warning": 2},
    )
    index, entries = first.health.service("py-find")
    assert int(index) > 1
    (entry,) = entries
    service = entry["Service"]
    assert (service["ID"], service["Address"], service["Port"]) == ("py-find-1", "10.1.2.3", 8080)
    assert (service["Tags"], service["Meta"]) == (["v1", "eu"], {"zone": "a"})
    assert service["Weights"] == {"Passing": 10, "Warning": 2}
    assert entry["Node"]["Node"]
    assert entry["Checks"] == []
    assert first.agent.services()["py-find-1"]["Service"] == "py-find"
    assert first.agent.service_definition("py-find-1")["Port"] == 8080
    _, services = first.catalog.services()
    assert sorted(services["py-find"]) == ["eu", "v1"]
    _, (found,) = first.catalog.service("py-find", tag="v1")
    assert (found["ServiceID"], found["ServicePort"]) == ("py-find-1", 8080)
    assert ids(first, "py-find", tag="none") == []
    assert ids(first, "py-find", tag=["v1", "eu"]) == ["py-find-1"]
    wait_for("another process knows it", lambda: ids(last, "py-find") == ["py-find-1"])
    assert first.agent.service.deregister("py-find-1")
    assert ids(first, "py-find") == []


def check_a_ttl_check_passes_by_a_report_and_fails_by_itself(first, last):
    first.agent.service.register("py-ttl", check=consul.Check.ttl("2s"))
    assert ids(first, "py-ttl", passing=True) == []
    assert first.agent.check.ttl_pass("service:py-ttl", notes="here I am")
    assert ids(first, "py-ttl", passing=True) == ["py-ttl"]
    assert first.agent.checks()["service:py-ttl"]["Output"] == "here I am"
    # A beat at any process counts.
    wait_for("the other process knows the check", lambda: "service:py-ttl" in last.agent.checks())
    for _ in range(6):
        assert last.agent.check.ttl_pass("service:py-ttl")
        time.sleep(0.5)
    assert ids(first, "py-ttl", passing=True) == ["py-ttl"]
    wait_for("it is critical without beats", lambda: ids(first, "py-ttl", passing=True) == [])
    assert ids(first, "py-ttl") == ["py-ttl"]
    first.agent.service.deregister("py-ttl")


def check_states(first, last):
    first.agent.service.register("py-state", check=consul.Check.ttl("60s"))
    for report, status in (("ttl_pass", "passing"), ("ttl_warn", "warning"), ("ttl_fail", "critical")):
        assert getattr(first.agent.check, report)("service:py-state")
        _, checks = first.health.checks("py-state")
        assert [check["Status"] for check in checks] == [status]
        _, checks = first.health.state(status)
        assert "service:py-state" in [check["CheckID"] for check in checks]
    _, checks = first.health.node(checks[0]["Node"])
    assert "service:py-state" in [check["CheckID"] for check in checks]
    first.agent.service.deregister("py-state")


def check_blocking_query_wakes_by_a_change(first, last):
    first.agent.service.register("py-block")
    index, _ = first.health.service("py-block")
    seen = []

    def block():
        begin = time.monotonic()
        seen.append((*first.health.service("py-block", index=index, wait="60s"), time.monotonic() - begin))

    waiter = threading.Thread(target=block)
    waiter.start()
    time.sleep(0.5)
    assert not seen
    # By way of another process: indexes mean the same everywhere.
    other = consul.Consul(host=last.http.host, port=last.http.port)
    other.agent.service.register("py-block", service_id="py-block-2")
    waiter.join(WAIT_S)
    ((after, entries, took),) = seen
    assert int(after) > int(index)
    assert len(entries) == 2
    assert 0.4 < took < 15
    for name in ("py-block", "py-block-2"):
        first.agent.service.deregister(name)


def check_blocking_query_ends_with_its_time(first, last):
    first.agent.service.register("py-wait")
    index, _ = first.health.service("py-wait")
    begin = time.monotonic()
    after, entries = first.health.service("py-wait", index=index, wait="2s")
    took = time.monotonic() - begin
    assert (after, len(entries)) == (index, 1)
    assert 1.9 < took < 6
    first.agent.service.deregister("py-wait")


def check_checks_of_their_own(first, last):
    first.agent.service.register("py-checks")
    assert first.agent.check.register("memory", check=consul.Check.ttl("30s"), service_id="py-checks")
    assert first.agent.checks()["memory"]["ServiceName"] == "py-checks"
    assert first.agent.check.ttl_pass("memory")
    assert ids(first, "py-checks", passing=True) == ["py-checks"]
    assert first.agent.check.deregister("memory")
    assert "memory" not in first.agent.checks()
    first.agent.service.deregister("py-checks")


def check_several_checks_and_their_ids(first, last):
    first.agent.service.register(
        "py-many",
        check=consul.Check.ttl("30s"),
        extra_checks=[consul.Check.tcp("127.0.0.1", 9, "10s", "1s", "90m"), consul.Check.ttl("1m")],
    )
    mine = [check for check in first.agent.checks() if check.startswith("service:py-many")]
    assert sorted(mine) == ["service:py-many:1", "service:py-many:2", "service:py-many:3"]
    first.agent.service.deregister("py-many")


def check_http_and_tcp_checks_are_probed(first, last):
    host, port = first.http.host, first.http.port
    probes = {
        "http": consul.Check.http(f"http://{host}:{port}/v1/status/peers", "1s", timeout="1s", header={"x-a": ["b"]}),
        "tcp": consul.Check.tcp(host, port, "1s", timeout="1s"),
        "grpc": consul.Check.grpc(f"{host}:{port}", "1s", timeout="1s"),
        "lost": consul.Check.http(f"http://{host}:{port}/nowhere", "1s", timeout="1s"),
    }
    for kind, check in probes.items():
        first.agent.service.register("py-probes", service_id=f"py-probes-{kind}", check=check)
    well = ["py-probes-grpc", "py-probes-http", "py-probes-tcp"]
    wait_for("the probes that can pass do", lambda: ids(last, "py-probes", passing=True) == well)
    check = first.agent.checks()["service:py-probes-lost"]
    assert (check["Status"], check["Type"], check["Interval"]) == ("critical", "http", "1s")
    for kind in probes:
        first.agent.service.deregister(f"py-probes-{kind}")


def check_maintenance(first, last):
    first.agent.service.register("py-maintenance")
    assert first.agent.service.maintenance("py-maintenance", "true", reason="upgrade")
    assert ids(first, "py-maintenance", passing=True) == []
    assert first.agent.service.maintenance("py-maintenance", "false")
    assert ids(first, "py-maintenance", passing=True) == ["py-maintenance"]
    first.agent.service.deregister("py-maintenance")


def check_nodes_by_the_catalogue(first, last):
    check = {"Name": "outside", "Status": "passing", "ServiceID": "py-db"}
    assert first.catalog.register("py-external", "10.9.9.9", service={"Service": "py-db", "Port": 5432}, check=check)
    _, (found,) = first.catalog.service("py-db")
    assert (found["Node"], found["Address"], found["ServicePort"]) == ("py-external", "10.9.9.9", 5432)
    assert ids(first, "py-db", passing=True) == ["py-db"]
    _, nodes = first.catalog.nodes()
    assert "py-external" in [node["Node"] for node in nodes]
    _, nodes = first.catalog.nodes(node_meta={"rack": "none"})
    assert nodes == []
    _, node = first.catalog.node("py-external")
    assert list(node["Services"]) == ["py-db"]
    assert first.catalog.deregister("py-external", service_id="py-db")
    assert first.catalog.deregister("py-external")
    _, node = first.catalog.node("py-external")
    assert node is None
    assert first.catalog.datacenters() == ["dc1"]


def check_filters(first, last):
    first.agent.service.register("py-filter", service_id="py-filter-1", meta={"v": "1"})
    first.agent.service.register("py-filter", service_id="py-filter-2", meta={"v": "2"})
    assert ids(first, "py-filter", filter_expr='Service.Meta.v == "2"') == ["py-filter-2"]
    assert list(first.agent.services(filter_expr='Service == "py-filter" and Meta.v == "1"')) == ["py-filter-1"]
    for number in (1, 2):
        first.agent.service.deregister(f"py-filter-{number}")


def error_of(call):
    try:
        call()
    except consul.exceptions.ConsulException as error:
        return type(error).__name__, str(error)
    return "", ""


def check_errors(first, last):
    for call in (lambda: first.agent.service.register(""), lambda: first.health.service("x", filter_expr="Nope == 1")):
        kind, text = error_of(call)
        assert (kind, text[:4]) == ("BadRequest", "400 "), text
    assert first.agent.check.ttl_pass("none") is False  # 404, as py-consul tells it
    # A key is never said to be missing, which 404 would mean.
    kind, text = error_of(lambda: first.kv.get("x"))
    assert (kind, text[:4]) == ("ConsulException", "501 "), text
    assert error_of(lambda: first.health.service("x", dc="elsewhere"))[1] == "500 No path to datacenter"


def check_the_cluster(first, last):
    assert first.agent.self()["Config"]["Datacenter"] == "dc1"
    assert ":" in first.status.leader()
    assert first.status.peers()
    assert first.agent.members()


def main(addresses):
    clients = []
    for address in (addresses[0], addresses[-1]):
        host, port = address.rsplit(":", 1)
        clients.append(consul.Consul(host=host, port=int(port)))
    results = {}
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            try:
                check(*clients)
                results[name] = "ok"
            except Exception:  # noqa: BLE001 (whatever it is, it goes into the report)
                results[name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
