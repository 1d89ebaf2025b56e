import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.core.configuration import (
    CHANGES_MAX,
    ChangeKind,
    ConfigurationChange,
    MemberChange,
    Transition,
    decode,
    encode,
)

changes = st.builds(
    ConfigurationChange,
    st.lists(st.builds(MemberChange, st.sampled_from(ChangeKind), st.integers(1, (1 << 64) - 1)), max_size=20).map(
        tuple
    ),
    st.sampled_from(Transition),
)


@given(changes)
def test_round_trip(change: ConfigurationChange) -> None:
    assert decode(encode(change)) == change


@given(st.binary(max_size=64))
def test_foreign_bytes_are_refused_or_mean_what_they_say(data: bytes) -> None:
    try:
        change = decode(data)
    except ValueError:
        return
    assert encode(change) == data


def test_limits() -> None:
    one = MemberChange(ChangeKind.REMOVE, 1)
    with pytest.raises(ValueError, match="limit"):
        encode(ConfigurationChange((one,) * (CHANGES_MAX + 1)))
    with pytest.raises(ValueError, match="member id"):
        encode(ConfigurationChange((MemberChange(ChangeKind.REMOVE, 1 << 64),)))
