"""Each limit at its edge, and the field that a refusal names."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry import limits
from services.registry.domain import CheckDefinition, CheckKind, Health, Instance, Node, Weights
from services.registry.interface import Beat, Invalid
from services.registry.validation import (
    check_beat,
    check_definition,
    check_instance,
    check_node,
    check_registration,
    completed,
    cut_output,
)

INSTANCE = Instance("n1", "a", "web")
TTL = CheckDefinition("c", "c", CheckKind.TTL, ttl_ms=1000)
HTTP = CheckDefinition("c", "c", CheckKind.HTTP, interval_ms=1000, target="http://10.0.0.1/")
TCP = CheckDefinition("c", "c", CheckKind.TCP, interval_ms=1000, target="10.0.0.1:80")
GRPC = CheckDefinition("c", "c", CheckKind.GRPC, interval_ms=1000, target="host.example:80/web.Health")


def test_what_is_left_empty_is_filled_in() -> None:
    instance, checks = completed(Instance("", "", "web"), [TTL, msgspec.structs.replace(TTL, id="", name="")], "shared")
    assert (instance.node, instance.id) == ("shared", "web")
    assert [check.id for check in checks] == ["c", "service:web:2"]
    assert checks[1].name == "Service 'web' check"
    assert {check.instance_id for check in checks} == {"web"}
    assert completed(instance, checks, "other") == (instance, checks)
    assert completed(instance, [msgspec.structs.replace(TTL, id="")], "other")[1][0].id == "service:web"


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "a" * 63},
        {"service": "a-1"},
        {"id": "a/b:c é"},
        {"id": "i" * 255},
        {"node": "host_1.example.com"},
        {"address": "2001:db8::1"},
        {"address": "host.example"},
        {"port": 65535},
        {"tags": ("t" * 255,) * 64},
        {"metadata": {f"k{n}": "v" * 512 for n in range(64)}},
        {"weights": Weights(65535, 0)},
    ],
)
def test_instances_within_the_limits(changes: dict[str, object]) -> None:
    check_instance(msgspec.structs.replace(INSTANCE, **changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "a" * 64}, "service"),
        ({"service": "-a"}, "service"),
        ({"service": "a.b"}, "service"),
        ({"service": "wéb"}, "service"),
        ({"service": "a\n"}, "service"),
        ({"id": "i" * 256}, "id"),
        ({"id": "é" * 128}, "id"),
        ({"id": " "}, "id"),
        ({"id": "a\ud800"}, "id"),
        ({"node": "a/b"}, "node"),
        ({"node": "n" * 254}, "node"),
        ({"node": ""}, "node"),
        ({"address": "a b"}, "address"),
        ({"address": "a" * 254}, "address"),
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"tags": ("t",) * 65}, "tags"),
        ({"tags": ("ok", "")}, "tags[1]"),
        ({"tags": ("t" * 256,)}, "tags[0]"),
        ({"metadata": {str(n): "" for n in range(65)}}, "metadata"),
        ({"metadata": {"k" * 129: ""}}, "metadata"),
        ({"metadata": {"a b": ""}}, "metadata"),
        ({"metadata": {"": ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata[k]"),
        ({"metadata": {"k": "\x7f"}}, "metadata[k]"),
        ({"weights": Weights(0, 0)}, "weights.passing"),
        ({"weights": Weights(1, 65536)}, "weights.warning"),
    ],
)
def test_instances_beyond_the_limits(changes: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_instance(msgspec.structs.replace(INSTANCE, **changes))
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize("check", [TTL, HTTP, TCP, GRPC, msgspec.structs.replace(TCP, target="[::1]:80")])
def test_checks_within_the_limits(check: CheckDefinition) -> None:
    check_definition(check, "checks[0]")


@pytest.mark.parametrize(
    ("check", "changes", "field"),
    [
        (TTL, {"id": "\r"}, "id"),
        (TTL, {"name": ""}, "name"),
        (TTL, {"notes": "n" * 1025}, "notes"),
        (TTL, {"ttl_ms": 0}, "ttl_ms"),
        (TTL, {"ttl_ms": limits.TTL_MS_MAX + 1}, "ttl_ms"),
        (TTL, {"successes_before_passing": 101}, "successes_before_passing"),
        (TTL, {"failures_before_critical": 0}, "failures_before_critical"),
        (TTL, {"deregister_critical_after_ms": 999}, "deregister_critical_after_ms"),
        (HTTP, {"interval_ms": 0}, "interval_ms"),
        (HTTP, {"timeout_ms": limits.TIMEOUT_MS_MAX + 1}, "timeout_ms"),
        (HTTP, {"target": "ftp://x/"}, "url"),
        (HTTP, {"target": "http:///x"}, "url"),
        (HTTP, {"target": "http://a b"}, "url"),
        (HTTP, {"target": "http://x/" + "a" * 2048}, "url"),
        (HTTP, {"method": "GE T"}, "method"),
        (HTTP, {"headers": (("a b", ""),)}, "headers"),
        (HTTP, {"headers": (("a", "x\r\ny: z"),)}, "headers[a]"),
        (HTTP, {"headers": (("a", ""),) * 33}, "headers"),
        (HTTP, {"body": "b" * 8193}, "body"),
        (HTTP, {"body": "\x00"}, "body"),
        (TCP, {"target": "host"}, "target"),
        (TCP, {"target": "host:0"}, "target: the port"),
        (TCP, {"target": "host:99999"}, "target: the port"),
        (TCP, {"target": "host:80/x"}, "target"),
        (GRPC, {"target": "/x"}, "target"),
    ],
)
def test_checks_beyond_the_limits(check: CheckDefinition, changes: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_definition(msgspec.structs.replace(check, **changes), "checks[0]")
    assert str(refused.value).startswith(f"checks[0].{field}: ")


def test_a_registration_has_no_check_twice_and_none_of_ours() -> None:
    check_registration(INSTANCE, [TTL])
    with pytest.raises(Invalid, match=r"^checks\[1\].id: 'c' is there twice"):
        check_registration(INSTANCE, [TTL, HTTP])
    with pytest.raises(Invalid, match=r"^checks\[0\].kind"):
        check_registration(INSTANCE, [CheckDefinition("c", "c", CheckKind.NODE)])
    with pytest.raises(Invalid, match=r"^checks: 17 of them; at most 16"):
        check_registration(INSTANCE, [msgspec.structs.replace(TTL, id=str(n)) for n in range(17)])


def test_nodes_and_beats() -> None:
    check_node(Node("n1", "10.0.0.1"))
    with pytest.raises(Invalid, match=r"^node_address"):
        check_node(Node("n1", ""))
    with pytest.raises(Invalid, match=r"^check_id"):
        check_beat(Beat("n1", "", Health.PASSING))
    with pytest.raises(Invalid, match=r"^node"):
        check_beat(Beat("n 1", "c", Health.PASSING))


@given(st.text(max_size=5000))
def test_any_output_is_cut_and_harmless(text: str) -> None:
    kept = cut_output(text)
    assert len(kept.encode()) <= limits.OUTPUT_BYTES_MAX + 2 * kept.count("\ufffd")
    assert all(letter.isprintable() or letter in "\n\t\r\ufffd" for letter in kept)
