"""What a scrape and `/info` tell."""

import json
from collections.abc import Awaitable, Callable

import msgspec
from prometheus_client import CollectorRegistry

from cluster.membership.driver import Membership, MembershipMetrics

Start = Callable[..., Awaitable[Membership]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_metrics_and_info_tell_what_there_is(start: Start, until: Until) -> None:
    members = [await start("m0")]
    members += [await start(f"m{number}", members[0]) for number in range(1, 5)]
    await until(lambda: all(len(member.members()) == 5 for member in members))
    registry = CollectorRegistry()
    MembershipMetrics(registry, members[0])
    assert registry.get_sample_value("orrery_membership_members", {"status": "alive"}) == 5
    assert registry.get_sample_value("orrery_membership_joined") == 1
    assert registry.get_sample_value("orrery_membership_health") == members[0].core.health
    sent = registry.get_sample_value("orrery_membership_datagrams_sent_total")
    assert sent == members[0].traffic.datagrams_sent
    members[0].traffic.refuse("key")
    assert registry.get_sample_value("orrery_membership_dropped_total", {"reason": "key"}) == 1
    info = json.loads(msgspec.json.encode(members[0].info()))
    assert [member["name"] for member in info["members"]] == [f"m{number}" for number in range(5)]
    assert info["members"][3]["service"] == "kv"
    assert info["digest"] == f"{members[3].core.digest:016x}"
    assert info["sealed"] is False
