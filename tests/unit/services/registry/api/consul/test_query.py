import pytest

from services.registry.api.consul.query import Query, read_options
from services.registry.api.consul.refusals import Refused


def refused(text: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refusal:
        read_options(Query(text), "dc1")
    return refusal.value.status, refusal.value.message


def test_the_options_of_a_read() -> None:
    options = read_options(Query("index=12&wait=1m&stale&dc=DC1&near=_agent&token=x&cached"), "dc1")
    assert (options.index, options.wait_ns, options.stale, options.consistent) == (12, 60_000_000_000, True, False)
    assert read_options(Query("max_stale=1500ms"), "dc1").stale_ms_max == 1500
    assert read_options(Query(""), "dc1").index == 0


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("wait=10", 400, "Invalid wait time"),
        ("index=-1", 400, "Invalid index"),
        ("index=x", 400, "Invalid index"),
        ("index=18446744073709551616", 400, "Invalid index"),
        ("index=%D9%A3", 400, "Invalid index"),
        ("max_stale=x", 400, 'Invalid max_stale value "x"'),
        ("stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("dc=dc2", 500, "No path to datacenter"),
        ("ns=team", 400, 'Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature'),
        ("partition=p", 400, 'Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature'),
    ],
)
def test_what_is_refused(text: str, status: int, message: str) -> None:
    assert refused(text) == (status, message)


def test_too_many_parameters() -> None:
    with pytest.raises(Refused):
        Query("&".join(f"a={number}" for number in range(100)))


@pytest.mark.parametrize(("text", "value"), [("passing", True), ("passing=", True), ("passing=1", True), ("", False),
                                             ("passing=false", False), ("passing=T", True)])  # fmt: skip
def test_flags(text: str, value: bool) -> None:
    assert Query(text).flag("passing") is value


def test_a_flag_that_is_neither() -> None:
    with pytest.raises(Refused, match=r"Invalid value for \?passing"):
        Query("passing=yes").flag("passing")


def test_metadata_of_nodes() -> None:
    assert Query("node-meta=a:b:c&node-meta=d").node_metadata == (("a", "b:c"), ("d", ""))
