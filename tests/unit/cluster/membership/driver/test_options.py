"""Options that make no sense are refused by name."""

import pytest

from cluster.membership.driver import MembershipOptions


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tick_s": 0.0}, "tick_s"),
        ({"stream_s_max": -1.0}, "stream_s_max"),
        ({"streams_in_max": 0}, "streams_in_max"),
        ({"watch_events_max": 0}, "watch_events_max"),
        ({"listen": "here"}, "host:port"),
        ({"advertise": "::1:7"}, "brackets"),
        ({"seeds": ("a:x",)}, "port"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MembershipOptions(name="a", **changes)  # type: ignore[arg-type]  # that is the point
