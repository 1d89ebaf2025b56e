import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.grpc.metadata import read_metadata, read_timeout_s, write_metadata, write_timeout

keys = st.from_regex(r"[a-z0-9_.\-]{1,20}", fullmatch=True).filter(
    lambda key: not key.startswith("grpc-") and key not in ("te", "content-type", "content-length")
)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(lambda text: text.strip(" "))
pairs = st.lists(
    st.one_of(
        st.tuples(keys.filter(lambda key: not key.endswith("-bin")), texts),
        st.tuples(keys.map(lambda key: key.removesuffix("-bin") + "-bin"), st.binary(max_size=40)),
    ),
    max_size=8,
)


@given(pairs)
def test_metadata_survives_the_wire(metadata: list[tuple[str, str | bytes]]) -> None:
    assert list(read_metadata(write_metadata(metadata))) == metadata


@pytest.mark.parametrize("value", [b"AAEC", b"AAEC,Aw==", b"AAEC,Aw", b"", b" AAEC "])
def test_binary_values_padded_or_joined(value: bytes) -> None:
    assert b"".join(part for _, part in read_metadata([(b"k-bin", value)]) if isinstance(part, bytes)) in (
        b"\0\1\2",
        b"\0\1\2\3",
        b"",
    )


def test_a_binary_value_that_is_not_base64() -> None:
    with pytest.raises(ValueError, match="not base64"):
        read_metadata([(b"k-bin", b"A")])


@pytest.mark.parametrize("pair", [("A", "x"), ("a", "x\n"), ("a", "ü"), (":path", "/"), ("grpc-timeout", "1S")])
def test_what_cannot_be_sent(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="metadata was invalid"):
        write_metadata([pair])


@given(st.floats(0, 1e10, allow_nan=False))
def test_timeouts_are_rounded_up_and_never_to_less(timeout_s: float) -> None:
    written = write_timeout(timeout_s)
    assert len(written) <= 9
    read_s = read_timeout_s(written)
    assert read_s >= timeout_s * (1 - 1e-9) or written == b"99999999H"
    assert read_s <= max(timeout_s * 1.001 + 1e-6, timeout_s + 3600 if timeout_s > 1e7 else 0)


@pytest.mark.parametrize("value", [b"", b"S", b"1", b"-1S", b"123456789S", b"1s", b"1 S"])
def test_timeouts_that_are_none(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a timeout"):
        read_timeout_s(value)
