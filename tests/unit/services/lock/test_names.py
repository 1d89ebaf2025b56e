import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from services.lock.names import check_name, parse_place, place_key, queue_prefix, session_key
from services.lock.refusals import Refused


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a\nb", "U\\+000A"),
        ("a\0", "U\\+0000"),
        ("a\x7f", "U\\+007F"),
        ("a\u202eb", "U\\+202E"),
        ("a\ud800", "U\\+D800"),
        ("a" * 513, "longer than 512"),
        ("\u00e4" * 257, "longer than 512"),
        ("orrery/lock/x", "belong to the service"),
        ("orrery/lock", "belong to the service"),
    ],
)
def test_names_that_cannot_be_used(name: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        check_name(name)
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["a", "/services/db/lock", "Bücher und Papier", "a/b/c", "orrery/locks", "x" * 512])
def test_names_that_can(name: str) -> None:
    check_name(name)


def test_keys_are_those_of_etcds_recipes() -> None:
    assert place_key("a", 0x694D7A) == b"a/694d7a"
    assert place_key("a", 0x694D7A, 18) == b"a/694d7a-12"
    assert queue_prefix("a") == b"a/"
    assert session_key(255) == b"orrery/lock/sessions/ff"


@given(st.text(min_size=1, max_size=20), st.integers(1, (1 << 63) - 1), st.integers(0, 1 << 62))
def test_a_place_is_recognised(name: str, lease: int, hold_id: int) -> None:
    try:
        check_name(name)
    except Refused:
        return
    key = place_key(name, lease, hold_id)
    assert key.startswith(queue_prefix(name))
    assert parse_place(key, lease) == name
    assert parse_place(key, lease + 1) is None
    assert parse_place(key, 0) is None


@given(st.binary(max_size=60), st.integers(0, (1 << 63) - 1))
def test_any_key_can_be_asked(key: bytes, lease: int) -> None:
    parse_place(key, lease)
