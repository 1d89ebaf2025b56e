import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.api.consul.filters import COMPARISONS_MAX, Shape, compile_filter
from services.registry.api.consul.refusals import Refused
from services.registry.api.consul.shapes import check_shape, endpoint_shape, node_shape, service_node_shape
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import Check, Endpoint

NODE = Node("n1", "10.0.0.1", {"rack": "r1", "my key": "v"})
INSTANCE = Instance("n1", "web-1", "web", "10.0.0.2", 80, ("v1", "eu"), {"zone": "a", "empty": ""})
CHECK = Check("n1", CheckDefinition("c", "C", CheckKind.TTL, "web-1"), CheckState(Health.PASSING, "fine"), "web", 7)
ENDPOINT = Endpoint(INSTANCE, NODE, (CHECK,), Health.PASSING, 7)
SHAPE = endpoint_shape(ENDPOINT, "dc1")


def matches(text: str) -> bool:
    keeps = compile_filter(text, Shape.ENDPOINT)
    assert keeps is not None
    return keeps(SHAPE)


@pytest.mark.parametrize(
    "text",
    [
        'Service.Meta.zone == "a"',
        "Service.Meta.zone == a",
        "Service.Meta.zone == `a`",
        "Service.Meta.zone != b",
        "Service.Meta.none != a",
        "not Service.Meta.none == a",
        '"v1" in Service.Tags',
        "v1 in Service.Tags and eu in Service.Tags",
        "Service.Tags contains v1",
        "v9 not in Service.Tags",
        "Service.Tags not contains v9",
        "Service.Tags is not empty",
        "Service.Meta.empty is empty",
        "Service.Meta.none is empty",
        "zone in Service.Meta",
        "Service.Port == 80",
        "Service.Weights.Passing == 1",
        "Service.EnableTagOverride == false",
        'Service.Service contains "we"',
        'Node.Meta["my key"] == v',
        '"/Node/Meta/my key" == v',
        "Node.Node == n1 and (Service.Port == 81 or Service.ID == web-1)",
        "Service.Port == 81 or Node.Datacenter == dc1 and Service.Port == 80",
        "not (Service.Port == 81 or Service.Port == 82)",
        "not not Service.Port == 80",
        "Node.Address==10.0.0.1",
    ],
)
def test_what_matches(text: str) -> None:
    assert matches(text)
    assert not matches(f"not ({text})")


def test_and_binds_stronger_than_or() -> None:
    assert matches("Service.Port == 80 or Service.Port == 80 and Service.Port == 81")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Service.Nope == 1", "Selector 'Service.Nope' is not valid"),
        ("Service == web", "Selector 'Service' is not valid"),
        ("Service.Tags.a == 1", "is not valid"),
        ("Checks.Status == passing", "is not valid"),
        ("Service.Tags == v1", 'invalid match operator "Equal"'),
        ("Service.Port contains 8", 'invalid match operator "In"'),
        ("Service.Port is empty", 'invalid match operator "Is Empty"'),
        ("Service.Port == x", "is no number"),
        ("Service.EnableTagOverride == 1", "neither true nor false"),
        ('Service.ID matches "w.*"', '"matches" is not served here'),
        ('Service.ID not matches "w.*"', '"matches" is not served here'),
        ("Service.ID ==", "ends too early"),
        ("Service.ID == a b", "'b' was not expected at character 17"),
        ("(Service.ID == a", "ends too early"),
        ("Service.ID = a", "cannot read it from character 11 on"),
        ('Service.ID == "a', "cannot read it"),
        ("(" * 100 + "Service.ID == a", "nested deeper"),
        ("not " * 100 + "Service.ID == a", "nested deeper"),
        (" or ".join(["Service.ID == a"] * (COMPARISONS_MAX + 1)), "comparisons"),
        ("a" * 3000, "longer than"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused) as refusal:
        compile_filter(text, Shape.ENDPOINT)
    assert refusal.value.status == 400
    assert refusal.value.message.startswith("Failed to create boolean expression evaluator: ")
    assert why in refusal.value.message


@pytest.mark.parametrize(
    ("shape", "item", "text"),
    [
        (Shape.NODE, node_shape(NODE, 1, "dc1"), "Meta.rack == r1 and Node == n1"),
        (Shape.SERVICE_NODE, service_node_shape(ENDPOINT, "dc1"), "ServiceMeta.zone == a and v1 in ServiceTags"),
        (Shape.CHECK, check_shape(CHECK, ("v1",)), "Status == passing and CheckID == c and v1 in ServiceTags"),
    ],
)
def test_each_shape_has_its_names(shape: Shape, item: dict[str, object], text: str) -> None:
    keeps = compile_filter(text, shape)
    assert keeps is not None
    assert keeps(item)  # type: ignore[arg-type]


def test_no_filter() -> None:
    assert compile_filter("  ", Shape.NODE) is None


WORDS = ("Service.ID", "Service.Tags", "Service.Meta.a", "Service.Port", "==", "!=", "in", "not", "and", "or", "(",
         ")", "is", "empty", "contains", "80", '"x"', "`y`", "matches", '"/Node/Node"', '["')  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        keeps = compile_filter(text, Shape.ENDPOINT)
    except Refused as refusal:
        status = refusal.status
    else:
        assert keeps is None or keeps(SHAPE) in (True, False)
        return
    assert status == 400
