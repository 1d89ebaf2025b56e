"""What members say of themselves: short, and harmless when it is nonsense."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.membership.metadata import EMPTY, Metadata, decode, encode

SHORT = st.text(max_size=10)


@given(SHORT, st.dictionaries(SHORT, SHORT, max_size=4), st.dictionaries(SHORT, SHORT, max_size=4))
def test_what_is_said_comes_out_again(service: str, endpoints: dict[str, str], labels: dict[str, str]) -> None:
    try:
        raw = encode(Metadata(service, endpoints, labels))
    except ValueError:
        return
    assert decode(raw) == Metadata(service, endpoints, labels)


def test_it_is_compact() -> None:
    assert len(encode(Metadata("kv", {"etcd": "127.0.0.1:2379"}))) == 26


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="512"):
        encode(Metadata("kv", {"etcd": "x" * 512}))


@given(st.binary(max_size=512))
def test_nonsense_is_nothing(raw: bytes) -> None:
    assert isinstance(decode(raw), Metadata)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x91" * 512, msgspec.msgpack.encode(["kv", {"a": 1}])])
def test_what_does_not_read_is_empty(raw: bytes) -> None:
    assert decode(raw) == EMPTY


def test_a_later_version_may_say_more() -> None:
    assert decode(msgspec.msgpack.encode(["kv", {}, {}, "more"])).service == "kv"
