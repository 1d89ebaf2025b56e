"""Memberships on real sockets of this machine, and on simulated hosts."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cluster.membership.core import Address, Status, SwimConfig
from cluster.membership.driver import (
    Change,
    ChangeKind,
    Membership,
    MembershipOptions,
    NameTaken,
)
from cluster.membership.driver.membership import resolve
from cluster.membership.metadata import Metadata
from runtime.real import StreamNet, SystemClock, SystemRandomness

PROGRAM = Path(__file__).with_name("simulated.py")
ROOT = Path(__file__).parents[5]
WITHIN_S = 20.0
KEY, NEW_KEY = b"k" * 16, b"n" * 32


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


async def start(name: str, *seeds: Membership, service: str = "kv", **changes: Any) -> Membership:
    options = MembershipOptions(
        name=name,
        seeds=tuple(str(seed.address) for seed in seeds),
        tick_s=0.01,
        join_retry_s=0.05,
        **changes,
    )
    return await Membership.start(StreamNet(), SystemClock(), SystemRandomness(), options, Metadata(service))


@asynccontextmanager
async def five(**changes: Any) -> AsyncIterator[list[Membership]]:
    members = [await start("m0", **changes)]
    members += [await start(f"m{number}", members[0], **changes) for number in range(1, 5)]
    try:
        await until(lambda: all(len(member.members()) == 5 for member in members))
        yield members
    finally:
        for member in members:
            await member.stop()


async def story(member: Membership) -> None:
    """What one hears of a member that changes, dies, comes back, and leaves."""
    changes = member.watch()
    heard: list[Change] = []

    async def next_of(name: str) -> Change:
        async with asyncio.timeout(WITHIN_S):
            async for change in changes:
                heard.append(change)
                if change.member is not None and change.member.name == name:
                    return change
        raise AssertionError("the watch has ended")

    other = await start("other", member)
    joined = await next_of("other")
    assert joined.kind is ChangeKind.JOINED
    assert joined.member is not None
    assert joined.member.metadata.service == "kv"
    assert joined.member.address == other.address
    await until(lambda: other.joined)

    other.update_metadata(Metadata("registry", {"grpc": "127.0.0.1:1"}))
    updated = await next_of("other")
    assert updated.kind is ChangeKind.UPDATED
    assert updated.member is not None
    assert updated.member.metadata.endpoints == {"grpc": "127.0.0.1:1"}

    await other.stop()
    assert [(await next_of("other")).kind for _ in range(2)] == [ChangeKind.SUSPECT, ChangeKind.FAILED]

    again = await start("other", member)
    back = await next_of("other")
    assert back.kind is ChangeKind.JOINED
    assert back.member is not None
    assert back.member.instance > joined.member.instance
    assert await again.leave()
    await again.stop()
    while (left := await next_of("other")).kind is not ChangeKind.LEFT:
        assert left.kind in (ChangeKind.UPDATED, ChangeKind.REFUTED, ChangeKind.SUSPECT)
    gone = member.member("other")
    assert gone is not None
    assert gone.status is Status.LEFT
    changes.close()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_five_members_hear_of_a_sixth(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        async with five() as members:
            await story(members[2])
            await until(lambda: len({member.core.digest for member in members}) == 1)
            assert {view.name for view in members[4].members()} == {f"m{number}" for number in range(5)}
            assert not any(member.traffic.refused for member in members)

    with closing(loop_factory()) as loop:
        loop.run_until_complete(scenario())


async def test_keys_are_changed_while_it_runs() -> None:
    async with five(keys=(KEY,)) as members:
        rings = [ring for member in members if (ring := member.key_ring) is not None]
        assert len(rings) == 5
        for ring in rings:
            ring.install(NEW_KEY)
        for ring in rings:
            ring.use(NEW_KEY)
        for ring in rings:
            ring.remove(KEY)
        late = await start("late", members[1], keys=(NEW_KEY,))
        await until(lambda: all(len(member.members()) == 6 for member in (*members, late)))
        await late.leave()
        await late.stop()


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"keys": (KEY,)}, {}, "unsealed"),
        ({"keys": (KEY,)}, {"keys": (NEW_KEY,)}, "key"),
        ({}, {"keys": (KEY,)}, "key"),
        ({"label": "one"}, {"label": "two"}, "checksum"),
    ],
)
async def test_who_is_not_of_this_cluster_is_not_heard(
    ours: dict[str, Any], theirs: dict[str, Any], reason: str
) -> None:
    member = await start("member", **ours)
    stranger = await start("stranger", member, **theirs)
    await until(lambda: member.traffic.refused.get(reason, 0) > 0)
    assert [view.name for view in member.members()] == ["member"]
    assert not stranger.joined
    await stranger.stop()
    await member.stop()


async def test_the_name_of_a_living_member_is_refused() -> None:
    first = await start("first")
    older = await start("name", first)
    await until(lambda: first.member("name") is not None)
    younger = await start("name", first)
    async with asyncio.timeout(WITHIN_S):
        error = await younger.wait_refused()
    assert isinstance(error, NameTaken)
    assert error.holder == older.address
    assert await younger.leave(), "there is nothing to say"
    await younger.stop()
    kept = first.member("name")
    assert kept is not None
    assert kept.address == older.address
    await older.stop()
    await first.stop()


async def test_a_port_that_is_taken_and_a_wildcard_without_address_are_refused() -> None:
    member = await start("member")
    with pytest.raises(OSError):
        await start("other", listen=str(member.address))
    with pytest.raises(ValueError, match="advertise"):
        await start("other", listen="0.0.0.0:0")
    with pytest.raises(ValueError, match="localhost is 127"):
        await start("other", listen="0.0.0.0:0", advertise="localhost:1")
    with pytest.raises(ValueError, match="a name must"):
        await start("")
    await member.stop()
    again = await start("other", listen=str(member.address))
    await again.stop()


async def test_a_member_alone_leaves_and_stops_at_once() -> None:
    member = await start("member")
    assert member.joined
    changes = member.watch()
    assert await member.leave()
    await member.stop()
    await member.stop()
    assert [change.kind async for change in changes] == [ChangeKind.JOINED]
    assert [change async for change in member.watch()] == []


async def test_it_goes_on_looking_for_seeds_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    ask = loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **what: Any) -> Any:
        # A resolver may take its seconds to say so.
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return await ask(host, port, **what)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    early = await start("early")
    address = str(early.address)
    await early.stop()
    member = await start("member", listen="127.0.0.1:0")
    await member.stop()
    options = MembershipOptions(
        name="member", seeds=(address, "nowhere.invalid:1"), tick_s=0.01, join_retry_s=0.02, seeds_refresh_s=0.1
    )
    member = await Membership.start(StreamNet(), SystemClock(), SystemRandomness(), options)
    await until(lambda: member.traffic.streams_failed > 1)
    assert not member.joined
    seed = await start("seed", listen=address)
    await until(lambda: member.joined and len(seed.members()) == 2)
    await member.stop()
    await seed.stop()


async def test_names_are_resolved_to_ipv4_first() -> None:
    assert await resolve("::1", 7) == Address("::1", 7)
    assert await resolve("localhost", 7) == Address("127.0.0.1", 7)


def trace_hashes(hash_seed: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "1", "2", "3"],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_seed_is_a_run_in_every_process() -> None:
    one, other = trace_hashes(1), trace_hashes(2)
    assert one == other
    assert len(set(one)) == 3


def test_swim_defaults_fit_the_options() -> None:
    assert MembershipOptions(name="a").swim == SwimConfig()
