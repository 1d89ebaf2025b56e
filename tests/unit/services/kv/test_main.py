"""A whole member in this process, on real loopback ports."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from cluster.membership.config import MembershipSection, membership_options
from cluster.membership.core import Status
from cluster.membership.driver import Membership
from cluster.rpc import create_channel
from cluster.telemetry.config import AdminSection
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.config import KvConfig, KvSection
from services.kv.main import serve
from tests.unit.free_ports import free_port

READY_S_MAX = 20.0


@asynccontextmanager
async def member(
    directory: Path,
    *,
    channelz: bool = False,
    admin: str = "127.0.0.1:0",
    membership: MembershipSection | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """One member, and a channel that is connected to it."""
    clients, peers = free_port(), free_port()
    config = KvConfig(
        node="kv-1",
        data_dir=str(directory),
        admin=AdminSection(listen=admin),
        kv=KvSection(listen=f"127.0.0.1:{clients}", members=(f"kv-1=127.0.0.1:{peers}",), channelz=channelz),
        membership=membership or MembershipSection(),
    )
    stop = StopSignal()
    serving = asyncio.create_task(serve(config, stop))
    try:
        async with create_channel(f"127.0.0.1:{clients}", net=StreamNet(), random=SystemRandomness()) as channel:
            async with asyncio.timeout(READY_S_MAX):
                await channel.channel_ready()
            yield channel
    finally:
        stop.set("the test is over")
        await serving


def get(address: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def first_answer(address: str) -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(READY_S_MAX):
        while True:
            try:
                return await asyncio.to_thread(get, address)
            except OSError:
                await asyncio.sleep(0.05)


def read(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
        return str(answer.read().decode())


async def test_a_lone_new_member_of_three_tells_what_it_waits_for(tmp_path: Path) -> None:
    admin = f"127.0.0.1:{free_port()}"
    section = KvSection(
        listen=f"127.0.0.1:{free_port()}",
        members=tuple(f"kv-{number}=127.0.0.1:{free_port()}" for number in (1, 2, 3)),
    )
    config = KvConfig(node="kv-1", data_dir=str(tmp_path), admin=AdminSection(listen=admin), kv=section)
    stop = StopSignal()
    serving = asyncio.create_task(serve(config, stop))
    try:
        status, ready = await first_answer(f"{admin}/readyz?format=json")
        assert status == 503
        (check,) = [check for check in ready["checks"] if check["name"] == "takes part"]
        assert not check["ok"]
        assert "0 of 2 answered, 2 must" in check["detail"]
        assert (await asyncio.to_thread(get, f"{admin}/info"))[1]["role"] == "joining"
        metrics = await asyncio.to_thread(read, f"{admin}/metrics")
        assert "orrery_raft_joining 1.0" in metrics
        assert "orrery_raft_recovering 0.0" in metrics
    finally:
        stop.set("the test is over")
        await serving


async def test_channelz_tells_who_is_connected(tmp_path: Path) -> None:
    async with member(tmp_path, channelz=True) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
        (server,) = (await stub.GetServers(channelz_pb2.GetServersRequest())).server
        sockets = await stub.GetServerSockets(channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id))
        assert len(sockets.socket_ref) == 1


async def test_channelz_is_off_unless_asked_for(tmp_path: Path) -> None:
    async with member(tmp_path, channelz=False) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetServers(channelz_pb2.GetServersRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_it_is_a_member_of_the_membership_and_says_goodbye(tmp_path: Path) -> None:
    options = membership_options(MembershipSection(listen="127.0.0.1:0"), "observer")
    assert options is not None
    observer = await Membership.start(StreamNet(), SystemClock(), SystemRandomness(), options)
    admin = f"127.0.0.1:{free_port()}"
    # Of two seeds one is nobody: it starts all the same.
    seeds = (f"127.0.0.1:{free_port()}", str(observer.address))
    try:
        async with member(tmp_path, admin=admin, membership=MembershipSection("127.0.0.1:0", seeds=seeds)):
            async with asyncio.timeout(READY_S_MAX):
                while (seen := observer.member("kv-1")) is None:
                    await asyncio.sleep(0.02)
            assert seen.metadata.service == "kv"
            assert seen.metadata.labels["node"] == "kv-1"
            assert seen.metadata.endpoints["admin"] == admin
            info = (await asyncio.to_thread(get, f"{admin}/info"))[1]
            assert {other["name"] for other in info["membership"]["members"]} == {"kv-1", "observer"}
            assert not info["registration"]["registered"]
            metrics = await asyncio.to_thread(read, f"{admin}/metrics")
            assert 'orrery_membership_members{status="alive"} 2.0' in metrics
            assert "orrery_registration_registered 0.0" in metrics
        left = observer.member("kv-1")
        assert left is not None
        assert left.status is Status.LEFT
    finally:
        await observer.stop()
