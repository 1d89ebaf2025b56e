"""The peer transport over gRPC: one long-lived Exchange stream for each peer and direction.

Each host opens its own stream to every peer and only sends on it; what the peer has to say comes on the stream that
the peer opened. A stream that breaks is opened anew after a pause that grows and is drawn at random, on a new channel,
so that the peer's name is resolved anew, too. What was queued for a broken stream is dropped: Raft sends it again, and
messages that have waited are of less use than new ones.

The engine is whoever is handed in: a channel factory and a server in the shape of `grpc.aio`.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import grpc
import grpc.aio

from cluster.pb.orrery.raft.v1 import raft_pb2 as pb
from cluster.pb.orrery.raft.v1 import raft_pb2_grpc as pb_grpc
from cluster.raft.core.types import MessageKind
from cluster.raft.driver import wire
from cluster.raft.driver.snapshot_stream import stream_snapshot
from cluster.raft.driver.transport import (
    GroupMessage,
    PeerCounters,
    Receiver,
    SnapshotChunk,
    SnapshotReader,
    SnapshotReceipt,
)
from runtime import Randomness

QUEUE_BYTES_MAX = 64 << 20
"""Entry data that may wait for one peer."""
QUEUE_MESSAGES_MAX = 65_536
"""Messages that may wait for one peer."""
BATCH_BYTES_MAX = 2 << 20
"""Entry data gathered into one batch; a batch may be one message larger, and a message one entry larger than 1 MiB."""
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 2.0
MESSAGE_BYTES_MAX = 32 << 20
"""What `channel_options` and the server's options should allow in one gRPC message."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.use_local_subchannel_pool", 1),
)
"""For the channel factory and, the first two, for the server. A subchannel pool of its own lets a new channel resolve
and connect anew at once, instead of sharing a broken connection's backoff."""

ChannelFactory = Callable[[str], grpc.aio.Channel]
"""Makes a channel to an address."""


class GrpcTransport:
    """A PeerTransport. Counters by peer are in `counters`."""

    def __init__(
        self,
        *,
        member_id: int,
        cluster_id: int,
        addresses: Mapping[int, str],
        channel_factory: ChannelFactory,
        server: grpc.aio.Server,
        random: Randomness,
        on_round_trip: Callable[[int, float], None] | None = None,
    ) -> None:
        """Registers its servicer with `server`, which the caller starts.

        `addresses` (by member id, the own one may be among them) is looked up at each connect, so a caller may change
        it. `on_round_trip` is told (peer, seconds) for each heartbeat that was answered.
        """
        self.member_id = member_id
        self.cluster_id = cluster_id
        self.counters: defaultdict[int, PeerCounters] = defaultdict(PeerCounters)
        self._addresses = addresses
        self._channel_factory = channel_factory
        self._random = random
        self._on_round_trip = on_round_trip
        self._receiver: Receiver | None = None
        self._peers: dict[int, _Peer] = {}
        self._running = False
        pb_grpc.add_RaftServicer_to_server(_Servicer(self), server)

    def attach(self, receiver: Receiver) -> None:
        """See PeerTransport."""
        self._receiver = receiver

    def send(self, target: int, messages: Sequence[GroupMessage]) -> None:
        """See PeerTransport."""
        peer = self._peers.get(target)
        if peer is None:
            if target not in self._addresses or target == self.member_id or not self._running:
                self.counters[target].dropped_disconnected += len(messages)
                return
            peer = self._peers[target] = _Peer(target, self)
            peer.task = asyncio.get_running_loop().create_task(peer.keep_connected(), name=f"raft-peer-{target}")
        peer.put(messages)

    async def send_snapshot(self, target: int, announcement: GroupMessage, source: SnapshotReader) -> bool:
        """See PeerTransport."""
        address = self._addresses.get(target)
        counters = self.counters[target]
        if address is None:
            counters.snapshots_failed += 1
            return False

        async def open_stream(chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
            async def encoded() -> AsyncIterator[pb.SnapshotChunk]:
                async for chunk in chunks:
                    yield wire.encode_chunk(self.cluster_id, chunk)

            channel = self._channel_factory(address)
            try:
                return wire.decode_receipt(await pb_grpc.RaftStub(channel).InstallSnapshot(encoded()))
            except grpc.aio.AioRpcError as error:
                raise ConnectionError(error.details()) from error
            finally:
                await channel.close()

        installed = await stream_snapshot(open_stream, announcement, source)
        counters.snapshots_sent += installed
        counters.snapshots_failed += not installed
        return installed

    async def run(self) -> None:
        """See PeerTransport."""
        self._running = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._running = False
            tasks = [peer.task for peer in self._peers.values() if peer.task is not None]
            self._peers.clear()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    # For the parts below

    @property
    def receiver(self) -> Receiver | None:
        """The host, while it is to be given anything."""
        return self._receiver if self._running else None

    def open_channel(self, target: int) -> grpc.aio.Channel:
        """A new channel to a peer. Raises KeyError when its address is gone."""
        return self._channel_factory(self._addresses[target])

    def backoff_s(self, failures: int) -> float:
        """How long to wait before the next attempt: between half of the full pause and all of it."""
        full = min(BACKOFF_S_MAX, BACKOFF_S_MIN * (1 << min(failures, 10)))
        return full * (0.5 + 0.5 * self._random.random())

    def lost(self, target: int) -> None:
        """Messages to a peer were lost."""
        if self._receiver is not None and self._running:
            self._receiver.unreachable(target)

    def arrived(self, messages: list[GroupMessage]) -> None:
        """A batch came in."""
        receiver = self.receiver
        if receiver is None or not messages:
            return
        source = messages[0].message.source
        self.counters[source].messages_received += len(messages)
        for _, message in messages:
            if message.kind is MessageKind.HEARTBEAT_REPLY:
                self._heartbeat_answered(source)
                break
        receiver.receive(messages)

    def _heartbeat_answered(self, source: int) -> None:
        peer = self._peers.get(source)
        if peer is not None and peer.heartbeat_sent_s is not None:
            elapsed = asyncio.get_running_loop().time() - peer.heartbeat_sent_s
            peer.heartbeat_sent_s = None
            self.counters[source].round_trip_s_last = elapsed
            if self._on_round_trip is not None:
                self._on_round_trip(source, elapsed)


class _Peer:
    """The sending side to one peer: a bounded queue, and the stream that empties it."""

    def __init__(self, target: int, transport: GrpcTransport) -> None:
        self.task: asyncio.Task[None] | None = None
        self.heartbeat_sent_s: float | None = None
        """When the oldest unanswered heartbeat was queued."""
        self._target = target
        self._transport = transport
        self._counters = transport.counters[target]
        self._queue: deque[tuple[GroupMessage, int]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._write_now: Callable[[pb.MessageBatch], bool] | None = None
        """Of the present stream, where its engine can do that."""

    def put(self, messages: Sequence[GroupMessage]) -> None:
        """Sends, or queues what fits, and counts what does not."""
        if self._write_now is not None and not self._queue and self._send_now(self._write_now, messages):
            return
        for item in messages:
            message = item.message
            size = sum([len(entry[3]) for entry in message.entries]) if message.entries else 0
            if len(self._queue) >= QUEUE_MESSAGES_MAX or (self._queue and self._bytes + size > QUEUE_BYTES_MAX):
                self._counters.dropped_queue_full += 1
                self._transport.lost(self._target)
                continue
            if message.kind is MessageKind.HEARTBEAT and self.heartbeat_sent_s is None:
                self.heartbeat_sent_s = asyncio.get_running_loop().time()
            self._queue.append((item, size))
            self._bytes += size
        self._filled.set()

    def _send_now(self, write_now: Callable[[pb.MessageBatch], bool], messages: Sequence[GroupMessage]) -> bool:
        """Sends a batch past the queue, which is empty, and the task that empties it."""
        if len(messages) > wire.MESSAGES_PER_BATCH_MAX:
            return False
        size = 0
        for _, message in messages:
            if message.entries:
                size += sum([len(entry[3]) for entry in message.entries])
            elif message.kind is MessageKind.HEARTBEAT and self.heartbeat_sent_s is None:
                self.heartbeat_sent_s = asyncio.get_running_loop().time()
        if size >= BATCH_BYTES_MAX or not write_now(wire.encode_batch(self._transport.cluster_id, messages)):
            return False
        self._counters.batches_sent += 1
        self._counters.messages_sent += len(messages)
        return True

    async def keep_connected(self) -> None:
        """Opens the stream again and again until cancelled."""
        failures = 0
        while True:
            begun = self._counters.batches_sent
            try:
                channel = self._transport.open_channel(self._target)
            except KeyError:
                return
            try:
                self._counters.connects += 1
                call = pb_grpc.RaftStub(channel).Exchange(self._batches(), wait_for_ready=False)
                # Only our own engine has it.
                self._write_now = getattr(call, "write_now", None)
                await call
            except grpc.aio.AioRpcError:
                self._counters.connect_failures += 1
            finally:
                self._write_now = None
                await channel.close()
            # Batches that were taken from the queue say little: the first ones vanish into a connection that fails.
            failures = failures + 1 if self._counters.batches_sent - begun < 2 else 0
            self._drop_queue()
            self._transport.lost(self._target)
            await asyncio.sleep(self._transport.backoff_s(failures))

    async def _batches(self) -> AsyncIterator[pb.MessageBatch]:
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            messages: list[GroupMessage] = []
            size = 0
            while self._queue and size < BATCH_BYTES_MAX and len(messages) < wire.MESSAGES_PER_BATCH_MAX:
                item, item_size = self._queue.popleft()
                messages.append(item)
                size += item_size
            self._bytes -= size
            self._counters.batches_sent += 1
            self._counters.messages_sent += len(messages)
            yield wire.encode_batch(self._transport.cluster_id, messages)

    def _drop_queue(self) -> None:
        self._counters.dropped_disconnected += len(self._queue)
        self._queue.clear()
        self._bytes = 0
        self.heartbeat_sent_s = None


class _Servicer(pb_grpc.RaftServicer):
    """The receiving side of all peers."""

    def __init__(self, transport: GrpcTransport) -> None:
        self._transport = transport

    async def Exchange(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.MessageBatch], context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.ExchangeSummary:
        count = 0
        async for batch in request_iterator:
            if batch.cluster != self._transport.cluster_id:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"this is not cluster {batch.cluster}")
            try:
                messages = wire.decode_batch(batch)
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            count += len(messages)
            self._transport.arrived(messages)
        return pb.ExchangeSummary(messages=count)

    async def InstallSnapshot(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SnapshotChunk], context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.SnapshotReceipt:
        receiver = self._transport.receiver
        if receiver is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the host does not run")
        try:
            return wire.encode_receipt(await receiver.receive_snapshot(self._chunks(request_iterator)))
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _chunks(self, request_iterator: AsyncIterator[pb.SnapshotChunk]) -> AsyncIterator[SnapshotChunk]:
        first = True
        async for chunk in request_iterator:
            if first and chunk.cluster != self._transport.cluster_id:
                raise ValueError(f"this is not cluster {chunk.cluster}")
            first = False
            yield wire.decode_chunk(chunk)
