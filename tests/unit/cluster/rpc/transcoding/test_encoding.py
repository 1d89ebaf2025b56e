import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import BLUE, COLOR_UNSPECIFIED, RED, Every
from cluster.rpc.transcoding.encoding import JsonEncoder


def document(message: Every) -> Any:
    return json.loads(JsonEncoder().encode(message))


def test_what_is_not_set_is_left_out_and_names_stay_as_they_are() -> None:
    assert document(Every()) == {}
    assert document(Every(camelCase="a", int32_value=1, bool_value=True)) == {
        "camelCase": "a",
        "int32_value": 1,
        "bool_value": True,
    }


def test_64_bit_integers_are_strings_and_bytes_are_base64() -> None:
    assert document(
        Every(int64_value=-(2**63), uint64_value=2**64 - 1, bytes_value=b"\xff\xfe?", numbers=[1, 2], maybe=0)
    ) == {
        "int64_value": "-9223372036854775808",
        "uint64_value": "18446744073709551615",
        "bytes_value": "//4/",
        "numbers": ["1", "2"],
        "maybe": 0,
    }


def test_enums_are_names_unless_unknown() -> None:
    assert document(Every(color=BLUE, colors=[COLOR_UNSPECIFIED, RED])) == {
        "color": "BLUE",
        "colors": ["COLOR_UNSPECIFIED", "RED"],
    }
    unknown = Every()
    unknown.ParseFromString(b"\x68\x4d")
    assert document(unknown) == {"color": 77}


@pytest.mark.parametrize(("value", "written"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_has_not(value: float, written: str) -> None:
    assert document(Every(double_value=value, float_value=value)) == {"double_value": written, "float_value": written}


def test_singles_are_written_short() -> None:
    assert JsonEncoder().encode(Every(float_value=0.1)) == b'{"float_value":0.1}'


def test_maps_are_sorted_and_their_keys_are_strings() -> None:
    message = Every(totals={"b": 2, "a": 1}, by_truth={True: b"x"})
    message.by_number[7].int32_value = 1
    assert JsonEncoder().encode(message) == (
        b'{"totals":{"a":"1","b":"2"},"by_number":{"7":{"int32_value":1}},"by_truth":{"true":"eA=="}}'
    )


def test_one_field_alone() -> None:
    encoder = JsonEncoder()
    assert encoder.field_document(Every(numbers=[1]), "numbers") == ["1"]
    assert encoder.field_document(Every(), "nested") == {}
    assert encoder.field_document(Every(), "string_value") == ""


finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.fixed_dictionaries(
    {},
    optional={
        "double_value": finite,
        "float_value": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "int32_value": st.integers(-(2**31), 2**31 - 1),
        "int64_value": st.integers(-(2**63), 2**63 - 1),
        "uint64_value": st.integers(0, 2**64 - 1),
        "bool_value": st.booleans(),
        "string_value": st.text(st.characters(codec="utf-8")),
        "bytes_value": st.binary(),
        "color": st.integers(0, 2),
        "numbers": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
        "names": st.lists(st.text(st.characters(codec="utf-8")), max_size=3),
        "totals": st.dictionaries(st.text("abc"), st.integers(-9, 9), max_size=3),
        "maybe": st.integers(-1, 1),
        "wrapped": st.builds(lambda value: {"value": value}, st.integers(-9, 9)),
        "lasting": st.builds(lambda seconds: {"seconds": seconds}, st.integers(0, 9)),
    },
)


def messages() -> st.SearchStrategy[Every]:
    return st.builds(
        lambda own, nested, children: Every(
            **own, nested=Every(**nested) if nested else None, children=[Every(**child) for child in children]
        ),
        scalars,
        scalars,
        st.lists(scalars, max_size=2),
    )


@example(Every(float_value=1.1707587498028617e20))  # of those that need nine digits
@given(messages())
def test_it_is_what_protobufs_own_mapping_makes(message: Every) -> None:
    expected = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert document(message) == json.loads(json.dumps(expected))
