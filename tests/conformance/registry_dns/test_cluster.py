"""A whole cluster, asked by `dig`: what is registered, what dies, and what is still said when kv is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.conformance.clusters import NODES, OrreryCluster, missing_for_orrery
from tests.conformance.registry_dns.dig import Output, dig, tool

NOTICED_S_MAX = 60.0
"""A killed process is gone from the answers in some seconds; a machine that is busy with other tests takes longer."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrreryCluster]:
    tool("dig", "bind9-dnsutils")
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path_factory.mktemp("dns"), services="registry")
    yield cluster
    cluster.close()


def dns_addresses(running: OrreryCluster) -> list[str]:
    return [row["endpoints"]["dns"] for row in running.status() if row["service"] == "registry"]


def ports(output: Output) -> list[int]:
    return sorted(int(line.split()[6]) for line in output.section("ANSWER"))


async def until(answer: Callable[[], Awaitable[Output]], holds: Callable[[Output], bool]) -> Output:
    output = await answer()
    try:
        async with asyncio.timeout(NOTICED_S_MAX):
            while not holds(output):
                await asyncio.sleep(0.2)
                output = await answer()
    except TimeoutError:
        pytest.fail(f"still after {NOTICED_S_MAX} s:\n{output.text}")
    return output


async def test_the_cluster_finds_itself_and_its_dead_and_goes_on_without_kv(running: OrreryCluster) -> None:
    """In one test, since each step stands on what the one before has done to the cluster."""
    servers = dns_addresses(running)
    assert len(servers) == 3
    members = sorted(int(address.rpartition(":")[2]) for address in running.client_addresses)
    for server in servers:
        for name in ("kv.service.consul", "_kv._tcp.service.dc1.orrery"):
            output = await until(lambda s=server, n=name: dig(s, n, "SRV"), lambda o: ports(o) == members)  # type: ignore[misc]
            assert output.flags == ["qr", "aa", "rd"]
        output = await dig(server, "kv.service.consul", "A", "+short")
        assert output.text == "127.0.0.1\n"
        output = await dig(server, f"{NODES[0]}.node.consul", "A", "+short")
        assert output.text == "127.0.0.1\n"

    killed, left = NODES[2], sorted(int(address.rpartition(":")[2]) for address in running.client_addresses[:2])
    await asyncio.to_thread(running.kill, killed)
    for server in servers:
        await until(lambda s=server: dig(s, "kv.service.consul", "SRV"), lambda o: ports(o) == left)  # type: ignore[misc]

    await asyncio.to_thread(running.kill, *NODES[:2])
    for server in servers:
        output = await until(
            lambda s=server: dig(s, "registry.service.consul", "SRV"),  # type: ignore[misc]
            lambda o: "EDE: 3 (Stale Answer)" in o.text,
        )
        assert output.status == "NOERROR"
        assert len(ports(output)) == 3
        assert all(line.split()[1] == "1" for line in output.section("ANSWER")), "the TTL is short meanwhile"
        assert ports(await dig(server, "kv.service.consul", "SRV")) == left
        output = await dig(server, "nope.service.consul")
        assert "EDE: 19" in output.text

    await asyncio.to_thread(running.start, *NODES)
    for server in servers:
        output = await until(
            lambda s=server: dig(s, "kv.service.consul", "SRV"),  # type: ignore[misc]
            lambda o: "EDE" not in o.text and ports(o) == members,
        )
        assert all(line.split()[1] == "5" for line in output.section("ANSWER"))
