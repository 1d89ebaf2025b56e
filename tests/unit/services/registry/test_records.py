"""Whatever stands in kv under the registry's prefix is read or left out; what is written is read back as it was."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.registry import limits
from services.registry.catalogue import (
    BeatRecord,
    CheckRecord,
    GoneRecord,
    Key,
    KeyKind,
    ProcessRecord,
    Record,
    Unreadable,
)
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node, Weights
from services.registry.records import PREFIX, decode_key, decode_value, encode_key, encode_prefix, encode_value

DEFINITION = CheckDefinition(
    "service:a",
    "check",
    CheckKind.HTTP,
    instance_id="a",
    interval_ms=1000,
    target="http://10.0.0.1/health",
    headers=(("accept", "*/*"),),
)
RECORDS: list[tuple[Key, Record]] = [
    (Key(KeyKind.NODE, "n1"), Node("n1", "10.0.0.1", {"zone": "a"})),
    (
        Key(KeyKind.INSTANCE, "n1", "a/b c"),
        Instance("n1", "a/b c", "web", "10.0.0.2", 80, ("v1",), {"k": "v"}, Weights(3, 1)),
    ),
    (Key(KeyKind.CHECK, "n1", "service:a"), CheckRecord(DEFINITION, CheckState(Health.WARNING, "slow", 5, 0, 0.5))),
    (Key(KeyKind.BEAT, "n1", "service:a"), BeatRecord(10)),
    (Key(KeyKind.PROCESS, "registry-1"), ProcessRecord("10.0.0.3:8500")),
    (Key(KeyKind.GONE_SERVICE, "web"), GoneRecord()),
    (Key(KeyKind.GONE_NODE, "n1"), GoneRecord()),
    (Key(KeyKind.GONE_FLOOR, ""), GoneRecord()),
]


def test_what_is_written_is_read_back() -> None:
    for key, record in RECORDS:
        assert decode_key(encode_key(key)) == key
        assert decode_value(key, encode_value(record)) == record
    assert encode_key(RECORDS[1][0]) == b"/orrery/registry/v1/instances/n1/a/b c"
    assert encode_key(RECORDS[1][0]).startswith(encode_prefix(KeyKind.INSTANCE, "n1"))


@given(
    st.binary(max_size=60), st.sampled_from([b"", PREFIX, *(PREFIX + kind.value.encode() + b"/" for kind in KeyKind)])
)
def test_any_key_is_one_of_ours_or_none(tail: bytes, head: bytes) -> None:
    key = decode_key(head + tail)
    if key is not None:
        assert encode_key(key) == head + tail


@given(st.sampled_from(RECORDS), st.binary(max_size=200))
def test_any_value_is_read_or_left_out(pair: tuple[Key, Record], raw: bytes) -> None:
    decode_value(pair[0], raw)


@given(st.sampled_from(RECORDS), st.data())
def test_a_damaged_record_is_read_or_left_out(pair: tuple[Key, Record], data: st.DataObject) -> None:
    raw = bytearray(encode_value(pair[1]))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decode_value(pair[0], bytes(raw))


def unreadable(key: Key, raw: bytes) -> bool:
    return isinstance(decode_value(key, raw), Unreadable)


def test_what_the_heads_rely_on_holds_for_others_records_too() -> None:
    key = Key(KeyKind.INSTANCE, "n1", "a")
    good = Instance("n1", "a", "web")
    assert decode_value(key, encode_value(good)) == good
    for bad in (
        msgspec.structs.replace(good, service="we\nb"),
        msgspec.structs.replace(good, port=-1),
        msgspec.structs.replace(good, id="b"),
        msgspec.structs.replace(good, tags=("\x00",)),
    ):
        assert unreadable(key, encode_value(bad))
    assert unreadable(Key(KeyKind.NODE, "n1"), encode_value(Node("n2", "10.0.0.1")))
    assert unreadable(Key(KeyKind.CHECK, "n1", "other"), encode_value(RECORDS[2][1]))
    assert unreadable(key, b"[" * 100_000)
    assert unreadable(key, b" " * (limits.RECORD_BYTES_MAX + 1))
