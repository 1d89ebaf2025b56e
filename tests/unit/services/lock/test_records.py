import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.lock.limits import HOLDS_PER_KEY_MAX, RECORD_BYTES_MAX
from services.lock.records import (
    MARK,
    AuditRecord,
    PlaceRecord,
    SessionRecord,
    decode_audit,
    decode_place,
    decode_session,
    encode_audit,
    encode_place,
    encode_session,
    entry_of,
)


def test_records_come_back_as_they_went() -> None:
    place = PlaceRecord("semaphore", (1, 2), "who", 2, 3, 99)
    assert decode_place(encode_place(place)) == place
    session = SessionRecord(10, 2, "who")
    assert decode_session(encode_session(session)) == session
    audit = AuditRecord("a", 1, 2, "owner", "who", "why", 3)
    assert decode_audit(encode_audit(audit)) == audit


def test_the_largest_record_fits() -> None:
    largest = PlaceRecord("semaphore", tuple((1 << 63) - 1 for _ in range(HOLDS_PER_KEY_MAX)), '"' * 256, 10**6, 10**6)
    assert len(encode_place(largest)) <= RECORD_BYTES_MAX
    assert decode_place(encode_place(largest)) == largest


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: MARK + tail)))
def test_any_value_is_a_place(value: bytes) -> None:
    """The value comes from whoever can write to kv: it must never end the process."""
    entry = entry_of(KeyValue(key=b"a/1", value=value, create_revision=5, mod_revision=6, lease=1))
    assert (entry.create_revision, entry.mod_revision) == (5, 6)
    if not value.startswith(MARK):
        assert entry.foreign
        assert entry.mode == "exclusive"
    decode_session(value)
    decode_audit(value)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda part: st.lists(part) | st.dictionaries(st.text(max_size=8), part),
    )
)
def test_any_json_behind_the_mark_is_a_place(document: object) -> None:
    decode_place(MARK + msgspec.json.encode(document))


def test_what_lies_is_foreign() -> None:
    for text in (
        b'{"mode":"shared","holds":[]}',
        b'{"mode":"shared","holds":[0]}',
        b'{"mode":"upside-down","holds":[1]}',
        b'{"mode":"semaphore","holds":[1],"permits":3,"limit":2}',
        b"[" * 2000,
        b'{"mode":"shared","holds":[1]}' + b" " * RECORD_BYTES_MAX,
    ):
        assert decode_place(MARK + text) is None
