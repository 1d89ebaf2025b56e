import random

import grpc.aio
import pytest

from cluster.discovery import Roster, StaticSource
from cluster.rpc import RpcOptions
from runtime.real import StreamNet
from runtime.sim import SeededRandomness


def made(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    return channel


def roster(source: StaticSource | list[str], seed: int = 1) -> Roster[grpc.aio.Channel]:
    return Roster(source, made, RpcOptions(), net=StreamNet(), random=SeededRandomness(random.Random(seed)))


async def test_members_that_stay_are_the_same_and_the_current_one_stays_current() -> None:
    source = StaticSource(["a:1", "b:1", "c:1"])
    members = roster(source)
    before = {member.address: member for member in members.members}
    members.turn_to(before["b:1"])
    source.replace(["b:1", "d:1"])
    assert [member.address for member in members.members] == ["b:1", "d:1"]
    assert members.members[0] is before["b:1"]
    assert members.current is before["b:1"]
    members.turn_to(before["a:1"])
    assert members.current is before["b:1"]
    source.replace(["d:1"])
    assert members.current is members.members[0]
    # Who left is not gone on from.
    members.leave(before["b:1"])
    assert members.current is members.members[0]
    await members.close()
    for member in before.values():
        assert member.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_leaving_goes_around() -> None:
    members = roster(["a:1", "b:1", "c:1"])
    seen = []
    for _ in range(4):
        assert members.current is not None
        seen.append(members.current.address)
        members.leave(members.current)
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    await members.close()


async def test_nobody_is_not_believed() -> None:
    source = StaticSource(["a:1"])
    members = roster(source)
    source.replace([])
    assert len(members) == 1
    await members.close()
    source.replace(["b:1"])
    assert [member.address for member in members.members] == ["a:1"]


async def test_a_source_that_knows_nobody_yet() -> None:
    source = StaticSource([])
    members = roster(source)
    assert members.current is None
    members.leave(None)
    source.replace(["a:1"])
    assert (await members.wait()).address == "a:1"
    await members.close()
    with pytest.raises(ValueError, match="no addresses"):
        roster([])


async def test_clients_do_not_all_begin_at_the_same_member() -> None:
    first = set()
    for seed in range(20):
        members = roster(["a:1", "b:1", "c:1"], seed)
        assert members.current is not None
        first.add(members.current.address)
        await members.close()
    assert first == {"a:1", "b:1", "c:1"}
