import json

import pytest

from services.registry.api.consul.fields import BODY_BYTES_MAX, DEPTH_MAX, ITEMS_MAX, Fields, decode
from services.registry.api.consul.refusals import Refused


def fields(**values: object) -> Fields:
    return decode(json.dumps(values).encode(), "Thing")


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    assert refusal.value.status == 400
    return refusal.value.message


def test_names_match_whatever_their_case_and_the_last_wins() -> None:
    found = decode(b'{"NAME": "a", "name": "b", "Meta": {"Key": "1", "key": "2"}}', "Thing")
    assert found.text("Name") == "b"
    assert found.text_map("meta") == {"Key": "1", "key": "2"}


def test_null_is_as_if_it_were_not_there() -> None:
    found = fields(Name=None, Port=None, Tags=None, Meta={"a": None}, Check=None, Flag=None, TTL=None)
    assert (found.text("Name"), found.integer("Port"), found.texts("Tags"), found.flag("Flag")) == ("", 0, (), False)
    assert (found.text_map("Meta"), found.child("Check"), found.duration_ns("TTL")) == ({"a": ""}, None, 0)


def test_wrong_types_are_named() -> None:
    found = fields(Name=1, Port="80", Tags="a", Meta=[], Flag="true", Real=1.5)
    assert refused(found.integer, "Port") == (
        "Request decode failed: json: cannot unmarshal string into Go struct field Thing.Port of type int"
    )
    assert refused(found.text, "Name").endswith(
        "cannot unmarshal number into Go struct field Thing.Name of type string"
    )
    assert refused(found.integer, "Real").endswith("number 1.5 into Go struct field Thing.Real of type int")
    for reader, name in ((found.texts, "Tags"), (found.text_map, "Meta"), (found.flag, "Flag"), (found.child, "Name")):
        assert f"Thing.{name} of type" in refused(reader, name)


def test_durations_come_as_text_or_as_nanoseconds() -> None:
    found = fields(a="1m", b=10_000_000_000, c=1e9, bad="1 minute", wrong=True, huge=1e300)
    assert found.duration_ns("a") == 60_000_000_000
    assert found.duration_ns("b") == 10_000_000_000
    assert found.duration_ns("c") == 1_000_000_000
    assert found.duration_ns("absent", "a") == 60_000_000_000
    assert refused(found.duration_ns, "bad") == (
        'Request decode failed: time: unknown unit " minute" in duration "1 minute"'
    )
    assert "time.Duration" in refused(found.duration_ns, "wrong")
    assert "time.Duration" in refused(found.duration_ns, "huge")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"1", b'"x"', b"nonsense", b"\xff", b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000,
     b'{"a":' * 3000, b'{"a": NaN}'],
)  # fmt: skip
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert refused(decode, body, "Thing").startswith("Request decode failed: ")


def test_an_empty_body_is_told_as_go_tells_it() -> None:
    assert refused(decode, b" \n", "Thing") == "Request decode failed: EOF"


def test_limits() -> None:
    assert f"more than {ITEMS_MAX}" in refused(decode, json.dumps({"a": [0] * (ITEMS_MAX + 1)}).encode(), "Thing")
    assert f"deeper than {DEPTH_MAX}" in refused(decode, b'{"a":' * 40 + b"1" + b"}" * 40, "Thing")
    decode(b'{"a":' * (DEPTH_MAX - 1) + b"1" + b"}" * (DEPTH_MAX - 1), "Thing")
    with pytest.raises(Refused) as refusal:
        decode(b" " * (BODY_BYTES_MAX + 1), "Thing")
    assert refusal.value.status == 413
