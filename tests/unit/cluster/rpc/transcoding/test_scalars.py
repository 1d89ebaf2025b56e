import math

import pytest
from google.protobuf.descriptor import FieldDescriptor

from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import Every
from cluster.rpc.transcoding.scalars import SHOWN_MAX, parse_of, show


def field(name: str) -> FieldDescriptor:
    found = Every.DESCRIPTOR.fields_by_name[name]
    assert isinstance(found, FieldDescriptor)
    return found


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("int64_value", "-12", -12),
        ("bool_value", "true", True),
        ("bool_value", "false", False),
        ("color", "RED", 1),
        ("color", "2", 2),
        ("string_value", "a b", "a b"),
        ("bytes_value", "_-8", b"\xff\xef"),
        ("double_value", "1e3", 1000.0),
        ("double_value", "Infinity", math.inf),
    ],
)
def test_text_of_paths_and_queries(name: str, text: str, value: object) -> None:
    assert parse_of(field(name), from_text=True)(text) == value


@pytest.mark.parametrize(
    ("name", "text"), [("bool_value", "yes"), ("color", "9x"), ("int32_value", ""), ("double_value", "0x1")]
)
def test_text_that_does_not_fit(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|unknown"):
        parse_of(field(name), from_text=True)(text)


def test_a_wrong_value_is_shown_short() -> None:
    assert show({"a": 1}) == "an object"
    assert show(None) == "null"
    assert show(True) == "true"
    assert len(show("x" * 10_000)) == SHOWN_MAX + 1
