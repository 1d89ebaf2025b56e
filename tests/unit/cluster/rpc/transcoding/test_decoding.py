import json

import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import BLUE, RED, Every
from cluster.rpc.transcoding.decoding import DEPTH_MAX, DecodeError, JsonDecoder, parse_json
from cluster.rpc.transcoding.encoding import JsonEncoder


def decode(text: str) -> Every:
    message = Every()
    document, _ = parse_json(text)
    JsonDecoder().read(message, document)
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", Every()),
        ("null", Every()),
        ('{"int64_value":"5"}', Every(int64_value=5)),
        ('{"int64Value":5}', Every(int64_value=5)),
        ('{"int64_value":"-9223372036854775808"}', Every(int64_value=-(2**63))),
        ('{"int32_value":1e2,"uint32_value":"1.0"}', Every(int32_value=100, uint32_value=1)),
        ('{"double_value":"NaN"}', Every(double_value=float("nan"))),
        ('{"double_value":"-Infinity","float_value":1}', Every(double_value=float("-inf"), float_value=1)),
        ('{"bytes_value":"//4/"}', Every(bytes_value=b"\xff\xfe?")),
        ('{"bytes_value":"__4_"}', Every(bytes_value=b"\xff\xfe?")),
        ('{"bytes_value":"Zg"}', Every(bytes_value=b"f")),
        ('{"color":"BLUE","colors":[1,"BLUE"]}', Every(color=BLUE, colors=[RED, BLUE])),
        ('{"nested":{}}', Every(nested=Every())),
        ('{"nested":{"nested":{"maybe":0}}}', Every(nested=Every(nested=Every(maybe=0)))),
        ('{"children":[{"int32_value":1},{}]}', Every(children=[Every(int32_value=1), Every()])),
        ('{"totals":{"a":"1"},"by_truth":{"true":"eA=="}}', Every(totals={"a": 1}, by_truth={True: b"x"})),
        ('{"unknown":[1,{"a":"b"}],"int32_value":null,"numbers":null}', Every()),
        ('{"first":"a","second":null}', Every(first="a")),
        ('{"nothing":null}', Every()),
    ],
)
def test_what_is_taken(text: str, message: Every) -> None:
    assert decode(text).SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


def test_types_with_json_of_their_own() -> None:
    message = decode('{"at":"2001-02-03T04:05:06Z","lasting":"1.5s","wrapped":"7","anything":[1,null],"mask":"a,b"}')
    assert message.at.seconds == 981173106
    assert (message.lasting.seconds, message.lasting.nanos) == (1, 500_000_000)
    assert message.wrapped.value == 7
    assert json_format.MessageToJson(message.anything, indent=None) == "[1.0, null]"
    assert list(message.mask.paths) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unexpected EOF"),
        ('{"a":', "unexpected EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ('{"a" 1}', "invalid JSON at character 5"),
        ("NaN", "NaN is not JSON"),
        ("[]", "an object is expected for orrery.rpctest.v1.Every, not an array"),
        ('"a"', 'an object is expected for orrery.rpctest.v1.Every, not "a"'),
        ('{"int64_value":"abc"}', 'int64_value: an integer is expected, not "abc"'),
        ('{"int64_value":" 5"}', "an integer is expected"),
        ('{"int64_value":"5_0"}', "an integer is expected"),
        ('{"int64_value":"٣"}', "an integer is expected"),
        ('{"int64_value":1.5}', "an integer is expected, not 1.5"),
        ('{"int64_value":true}', "an integer is expected, not true"),
        ('{"int64_value":9223372036854775808}', "int64_value: "),
        ('{"uint32_value":-1}', "uint32_value: "),
        ('{"int32_value":"' + "9" * 10_000 + '"}', "an integer is expected"),
        ('{"int32_value":' + "9" * 10_000 + "}", "invalid JSON"),
        ('{"double_value":1e999}', "too large"),
        ('{"double_value":"inf"}', "a number is expected"),
        ('{"float_value":1e39}', "too large"),
        ('{"bool_value":"true"}', "true or false is expected"),
        ('{"string_value":7}', "a string is expected, not 7"),
        ('{"string_value":"\\ud800"}', "string_value: "),
        ('{"bytes_value":7}', "a string of base64 is expected"),
        ('{"bytes_value":"!!!!"}', "not base64"),
        ('{"bytes_value":"Zg=a"}', "not base64"),
        ('{"bytes_value":"Zgé"}', "not base64"),
        ('{"color":"GREEN"}', 'unknown value "GREEN" for enum orrery.rpctest.v1.Color'),
        ('{"color":"1"}', 'unknown value "1"'),
        ('{"nested":{"numbers":[1,"x"]}}', "nested.numbers: an integer is expected"),
        ('{"numbers":1}', "numbers: an array is expected, not 1"),
        ('{"numbers":[null]}', "an integer is expected, not null"),
        ('{"children":[null]}', "an object is expected"),
        ('{"totals":[1]}', "totals: an object is expected, not an array"),
        ('{"by_number":{"x":{}}}', "an integer is expected"),
        ('{"first":"a","second":{}}', "only one of first and second may be set"),
        ('{"at":"yesterday"}', "at: "),
        ('{"nested":' * (DEPTH_MAX + 1) + "{}" + "}" * (DEPTH_MAX + 1), "more than 64 levels deep"),
        ("[" * 100_000, "nested too deeply"),
        ('{"anything":' + "[" * 100 + "]" * 100 + "}", "anything: "),
    ],
)
def test_what_is_refused_and_why(text: str, why: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 10_000


def test_values_may_follow_one_another() -> None:
    text = ' {"a":1}\n{"b":2} '
    first, at = parse_json(text)
    second, _ = parse_json(text, at)
    assert (first, second) == ({"a": 1}, {"b": 2})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([field.name for field in Every.DESCRIPTOR.fields] + ["", "x", "1"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
@example({"nothing": 1})
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        message = decode(json.dumps(value))
    except DecodeError:
        return
    # What was taken comes out so that it can be taken again.
    text = JsonEncoder().encode(message).decode()
    assert decode(text).SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        decode(text)
    except DecodeError:
        pass
