"""The sockets of a member: what is dropped is counted, and nothing piles up."""

import asyncio
from collections.abc import Awaitable, Callable

from cluster.membership.core import Address
from cluster.membership.driver import Membership
from cluster.membership.envelope import Channel
from runtime.real import StreamNet

Start = Callable[..., Awaitable[Membership]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_a_garbage_datagram_and_a_garbage_stream_are_counted(start: Start, until: Until) -> None:
    member = await start("member")
    host, port = member.address
    transport, _ = await StreamNet().datagram(asyncio.DatagramProtocol, "127.0.0.1", 0)
    for data in (b"", b"x", b"garbage" * 100, member._envelope.wrap(b"\x63", Channel.DATAGRAM)):
        transport.sendto(data, (host, port))
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"\0\0\0\x08garbage!")
    assert await reader.read() == b""
    writer.close()
    await until(lambda: sum(member.traffic.refused.values()) >= 4)
    assert set(member.traffic.refused) >= {"short", "version", "malformed"}
    transport.close()


async def test_an_address_that_cannot_be_sent_to_harms_nobody(start: Start, until: Until) -> None:
    member = await start("member")
    member._transport.send(Address("::1", 1), b"x")
    await asyncio.sleep(0)
    await until(lambda: member.traffic.refused.get("not_sent", 0) == 1)


async def test_too_many_conversations_are_dropped_and_counted(start: Start, until: Until) -> None:
    member = await start("member", streams_out_max=1, streams_in_max=1)
    other = await start("other", member, streams_out_max=1, streams_in_max=1)
    await until(lambda: other.joined)
    idle = [await asyncio.open_connection(*member.address) for _ in range(2)]
    await until(lambda: member.traffic.streams_refused == 1)
    for _ in range(3):
        other.core.join([member.address])
        other._flush()
    assert other.traffic.streams_failed >= 2
    for _, writer in idle:
        writer.close()
