"""Settings that make no sense are refused by name."""

import pytest

from cluster.membership.core import SwimConfig


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"probe_interval_ticks": 0}, "probe_interval_ticks"),
        ({"helpers": -1}, "helpers"),
        ({"probe_timeout_ticks": 10}, "probe_timeout_ticks"),
        ({"nack_ticks": 5}, "nack_ticks"),
        ({"metadata_bytes_max": 513}, "metadata_bytes_max"),
        ({"packet_bytes_max": 1_000}, "packet_bytes_max"),
        ({"packet_bytes_max": 70_000}, "packet_bytes_max"),
        ({"members_max": 10_001}, "members_max"),
    ],
)
def test_nonsense_is_refused_by_name(changes: dict[str, int], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        SwimConfig(**changes)  # type: ignore[arg-type]  # all of them are numbers


def test_without_helpers_nacks_do_not_matter() -> None:
    assert SwimConfig(helpers=0, nack_ticks=50).helpers == 0
