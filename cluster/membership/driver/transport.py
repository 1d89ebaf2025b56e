"""The sockets of a member: one UDP port, and TCP on the same number."""

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from cluster.membership.core import Address, Malformed, StreamCall
from cluster.membership.driver.conversation import Conversation, RefusedConversation
from cluster.membership.driver.options import MembershipOptions
from cluster.membership.envelope import Channel, Envelope, Refused
from runtime import Net

BIND_TRIES_MAX = 16
"""Free TCP ports that are tried until one is free for UDP, too."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class TransportCounters:
    """What went through the sockets; only ever grows."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    bytes_sent: int = 0
    """Payload of datagrams and frames of streams, envelopes included."""
    bytes_received: int = 0
    streams_opened: int = 0
    streams_failed: int = 0
    """That could not be opened, or were one too many."""
    streams_accepted: int = 0
    streams_refused: int = 0
    """One too many of those that others began."""
    refused: dict[str, int] = field(default_factory=dict)
    """What was dropped, by why: `key`, `checksum`, `malformed`, ..."""

    def refuse(self, why: str) -> None:
        """Counts something that was dropped."""
        self.refused[why] = self.refused.get(why, 0) + 1


class GossipTransport(asyncio.DatagramProtocol):
    """Sends and receives messages of the core, in envelopes."""

    def __init__(
        self,
        net: Net,
        envelope: Envelope,
        options: MembershipOptions,
        on_datagram: Callable[[bytes, Address], None],
        on_stream: Callable[[bytes], bytes | None],
    ) -> None:
        """`on_datagram(message, source)` and `on_stream(message) -> answer` may raise Malformed."""
        self.counters = TransportCounters()
        self._net = net
        self._envelope = envelope
        self._options = options
        self._on_datagram = on_datagram
        self._on_stream = on_stream
        self._datagrams: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._accepted: dict[Conversation, None] = {}
        self._opened: dict[Conversation, None] = {}
        self._calls: dict[asyncio.Task[None], None] = {}

    async def open(self, host: str, port: int) -> Address:
        """Binds both, and says where. Raises OSError when one is taken."""
        for tries_left in range(BIND_TRIES_MAX - 1, -1, -1):
            server = await self._net.listen(self._accept, host, port)
            bound = server.sockets[0].getsockname()[1] if port == 0 else port
            try:
                transport, _ = await self._net.datagram(lambda: self, host, bound)
            except OSError as error:
                server.close()
                if port or error.errno != errno.EADDRINUSE or not tries_left:
                    raise
                continue
            except BaseException:
                server.close()
                raise
            self._server, self._datagrams = server, transport
            return Address(host, bound)
        raise AssertionError("the last try raises")

    async def close(self) -> None:
        """Closes the sockets and ends all conversations."""
        if self._server is not None:
            self._server.close()
        if self._datagrams is not None:
            self._datagrams.close()
        for conversation in (*self._accepted, *self._opened):
            conversation.abort()
        calls = tuple(self._calls)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)

    # Datagrams

    def send(self, target: Address, message: bytes) -> None:
        """Sends a datagram, or loses it."""
        datagrams = self._datagrams
        if datagrams is None or datagrams.is_closing():
            return
        data = self._envelope.wrap(message, Channel.DATAGRAM)
        self.counters.datagrams_sent += 1
        self.counters.bytes_sent += len(data)
        try:
            datagrams.sendto(data, (target.host, target.port))
        except (OSError, ValueError):
            # An IPv6 address for an IPv4 socket, perhaps: somebody says that it is there. It is not reached.
            self.counters.refuse("not_sent")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Takes a datagram; what is wrong with it is counted, and it is dropped."""
        self.counters.datagrams_received += 1
        self.counters.bytes_received += len(data)
        try:
            # IPv6 gives four parts.
            self._on_datagram(self._envelope.unwrap(data, Channel.DATAGRAM), Address(addr[0], addr[1]))
        except Refused as error:
            self.counters.refuse(error.reason.value)
        except Malformed:
            self.counters.refuse("malformed")

    def error_received(self, exc: Exception) -> None:
        """The kernel could not send something: lost, as the network might have lost it."""
        self.counters.refuse("not_sent")

    # Streams

    def call(self, call: StreamCall) -> None:
        """Opens a conversation. One that is too many, or does not come about, is counted."""
        if len(self._calls) + len(self._opened) >= self._options.streams_out_max:
            self.counters.streams_failed += 1
            return
        task = asyncio.get_running_loop().create_task(self._open(call), name=f"membership/{call.purpose.value}")
        self._calls[task] = None
        task.add_done_callback(self._called)

    async def _open(self, call: StreamCall) -> None:
        first = self._envelope.wrap(call.data, Channel.STREAM)
        try:
            async with asyncio.timeout(self._options.stream_s_max):
                _, protocol = await self._net.connect(
                    lambda: Conversation(self._answer, self._opened_ended, self._options.stream_s_max, first),
                    call.target.host,
                    call.target.port,
                )
        except (OSError, TimeoutError) as error:
            self.counters.streams_failed += 1
            _log.debug("no stream to %s for %s: %s", call.target, call.purpose.value, error)
            return
        self.counters.streams_opened += 1
        self.counters.bytes_sent += len(first)
        conversation = cast("Conversation", protocol)
        if not conversation.ended:
            self._opened[conversation] = None

    def _called(self, task: "asyncio.Task[None]") -> None:
        self._calls.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a conversation of the membership failed", "exception": error, "task": task}
            )

    def _accept(self) -> asyncio.Protocol:
        if len(self._accepted) >= self._options.streams_in_max:
            self.counters.streams_refused += 1
            return RefusedConversation()
        self.counters.streams_accepted += 1
        conversation = Conversation(self._answer, self._accepted_ended, self._options.stream_s_max)
        self._accepted[conversation] = None
        return conversation

    def _answer(self, frame: bytes) -> bytes | None:
        self.counters.bytes_received += len(frame)
        try:
            answer = self._on_stream(self._envelope.unwrap(frame, Channel.STREAM))
        except Refused as error:
            self.counters.refuse(error.reason.value)
            return None
        except Malformed:
            self.counters.refuse("malformed")
            return None
        if answer is None:
            return None
        wrapped = self._envelope.wrap(answer, Channel.STREAM)
        self.counters.bytes_sent += len(wrapped)
        return wrapped

    def _opened_ended(self, conversation: Conversation) -> None:
        self._opened.pop(conversation, None)

    def _accepted_ended(self, conversation: Conversation) -> None:
        self._accepted.pop(conversation, None)
