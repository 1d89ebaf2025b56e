import os
import tomllib

import pytest

from orrery import processes
from orrery.errors import OperatorError
from orrery.layout import Port, configuration, node_of, nodes_of, with_needs
from orrery.services import SERVICES
from orrery.state import ClusterDirectory, ClusterState, NodeState
from orrery.status import environment
from runtime.config import load
from services.kv.config import KvConfig
from services.lock.config import LockConfig


def cluster() -> ClusterState:
    names = ("kv-1", "kv-2", "kv-3", "lock-1", "lock-2", "registry-1", "registry-2", "registry-3")
    nodes = {name: NodeState(name.partition("-")[0]) for name in names}
    return ClusterState("127.0.0.1", 20000, "standard", "token", nodes)


def test_services_come_behind_what_they_need() -> None:
    assert with_needs(["lock"]) == ["kv", "lock"]
    assert with_needs(["registry", "lock", "kv"]) == ["kv", "registry", "lock"]
    assert with_needs(list(SERVICES)) == with_needs(with_needs(list(SERVICES)))


def test_no_two_nodes_share_a_port() -> None:
    ports = [port.number for node in nodes_of(cluster()) for port in node.ports]
    assert len(ports) == len(set(ports))
    assert node_of(cluster(), "lock-2").ports == [
        Port("client", 20060),
        Port("admin", 20062),
        Port("membership", 20063, has_datagrams=True),
    ]
    assert node_of(cluster(), "lock-2").endpoints == {"lock": "127.0.0.1:20060", "admin": "http://127.0.0.1:20062"}
    assert node_of(cluster(), "registry-3").ports == [
        Port("client", 20090),
        Port("admin", 20092),
        Port("membership", 20093, has_datagrams=True),
        Port("DNS", 20094, has_datagrams=True),
    ]
    assert node_of(cluster(), "registry-1").endpoints == {
        "registry": "127.0.0.1:20070",
        "consul": "http://127.0.0.1:20070",
        "dns": "127.0.0.1:20074",
        "admin": "http://127.0.0.1:20072",
    }
    with pytest.raises(OperatorError, match="there are: kv-1"):
        node_of(cluster(), "lock-9")


def test_each_process_understands_its_file(tmp_path: object) -> None:
    directory, state = ClusterDirectory(str(tmp_path)), cluster()
    text = configuration(directory, state, node_of(state, "kv-2"))
    members = ("kv-1=127.0.0.1:20001", "kv-2=127.0.0.1:20011", "kv-3=127.0.0.1:20021")
    kv = load(KvConfig, text, {})
    assert (kv.node, kv.kv.members, kv.kv.peer_listen, kv.kv.cluster_token) == (
        "kv-2",
        members,
        "127.0.0.1:20011",
        "token",
    )
    text = configuration(directory, state, node_of(state, "lock-1"))
    assert "peer_listen" not in tomllib.loads(text)["lock"]
    lock = load(LockConfig, text, {})
    assert (lock.node, lock.lock.listen) == ("lock-1", "127.0.0.1:20050")
    assert lock.lock.kv == ("127.0.0.1:20000", "127.0.0.1:20010", "127.0.0.1:20020")
    for node, membership in (("kv-2", kv.membership), ("lock-1", lock.membership)):
        assert membership.listen == f"127.0.0.1:{node_of(state, node).membership_port}"
        assert membership.seeds == ("127.0.0.1:20003", "127.0.0.1:20013", "127.0.0.1:20023")
        assert (membership.cluster, membership.keys_file) == ("token", str(directory.membership_keys))


def test_what_the_operator_sets_is_in_the_files_of_that_service(tmp_path: object) -> None:
    directory, state = ClusterDirectory(str(tmp_path)), cluster()
    state.settings = {"kv": {"kv.engine": "lsm", "log.level": "debug", "membership.tick_ms": 50}}
    kv = load(KvConfig, configuration(directory, state, node_of(state, "kv-3")), {})
    assert (kv.kv.engine, kv.log.level, kv.membership.tick_ms) == ("lsm", "debug", 50)
    assert kv.kv.listen == "127.0.0.1:20020"
    lock = load(LockConfig, configuration(directory, state, node_of(state, "lock-1")), {})
    assert (lock.log.level, lock.membership.tick_ms) == ("info", 100)


def test_clients_are_told_where_the_services_are() -> None:
    told = environment(cluster())
    assert told["ORRERY_LOCK_ENDPOINTS"] == "127.0.0.1:20050,127.0.0.1:20060"
    assert told["ETCDCTL_ENDPOINTS"].count("http://") == 3
    assert told["ORRERY_REGISTRY_ENDPOINTS"] == "127.0.0.1:20070,127.0.0.1:20080,127.0.0.1:20090"
    assert (told["CONSUL_HTTP_ADDR"], told["ORRERY_DNS"]) == ("http://127.0.0.1:20070", "127.0.0.1:20074")


def test_where_one_process_is_named_it_is_one_that_runs() -> None:
    state = cluster()
    own = state.nodes["registry-2"]
    own.pid, own.start = os.getpid(), processes.start_of(os.getpid()) or ""
    told = environment(state)
    assert (told["CONSUL_HTTP_ADDR"], told["ORRERY_DNS"]) == ("http://127.0.0.1:20080", "127.0.0.1:20084")
