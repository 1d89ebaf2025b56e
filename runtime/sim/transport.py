"""One end of a simulated connection, as asyncio's protocols see it.

The half above is the process's: its buffer, its flow control, its protocol; the half below is the kernel's, which goes
on when the process is paused, and answers for it when it is gone. What the network has to say to a protocol is always
a step of the host's own; only `pause_writing` is called from inside `write`, as asyncio does.
"""

import asyncio
import contextvars
import errno
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from runtime.sim.incarnation import Incarnation
from runtime.sim.pipe import Mark, Pipe
from runtime.sim.socket import SimSocket

if TYPE_CHECKING:
    from runtime.sim.host import SimHost
    from runtime.sim.net import SimNet
    from runtime.sim.server import SimServer

Address = tuple[str, int]

READ_BYTES_MAX = 256 << 10
"""What one read gives at the most, as in asyncio."""
WRITE_HIGH_BYTES = 64 << 10
"""Default of the mark at which the protocol is asked to pause writing, as in asyncio; the low one is a quarter."""


class SimTransport(asyncio.Transport):
    """See the module. `pipe` leads to the other end, and is set when that one is known."""

    pipe: Pipe
    back: Pipe
    """From the other end."""

    def __init__(
        self,
        net: "SimNet",
        host: "SimHost",
        owner: Incarnation,
        context: contextvars.Context,
        local: Address,
        remote: Address,
        server: "SimServer | None" = None,
    ) -> None:
        super().__init__({"sockname": local, "peername": remote, "socket": SimSocket(local, remote)})
        self.host = host
        self.owner = owner
        self.identity = net.next_pipe_number()
        self.gone = False
        """The kernel knows nothing of this connection any more: whatever arrives is answered by a reset."""
        self._net = net
        self._loop = net.loop
        self._context = context
        self._server = server
        self._protocol: asyncio.BaseProtocol | None = None
        self._started = False
        self._received: deque[bytes] = deque()
        self._received_eof = False
        self._deliver_set = False
        self._reading = True
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._high, self._low = WRITE_HIGH_BYTES, WRITE_HIGH_BYTES // 4
        self._writing_paused = False
        self._eof_written = False
        self._closing = False
        self._lost = False

    def __hash__(self) -> int:
        return self.identity

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        local, remote = self.get_extra_info("sockname"), self.get_extra_info("peername")
        return f"<SimTransport {self.owner.name} {local[0]}:{local[1]} to {remote[0]}:{remote[1]}>"

    # What protocols call

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends, or buffers what the window does not take."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not self.owner.alive or not data:
            return
        payload = bytes(data)
        if not self._backlog:
            room = self._net.options.window_bytes - self.pipe.in_flight_bytes
            if room >= len(payload):
                self.pipe.send(payload)
                return
            if room > 0:
                self.pipe.send(payload[:room])
                payload = payload[room:]
        self._backlog.append(payload)
        self._backlog_bytes += len(payload)
        if self._backlog_bytes > self._high and not self._writing_paused:
            self._writing_paused = True
            self._call_protocol("pause_writing")

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Sends the parts as one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def write_eof(self) -> None:
        """Ends this direction once all is sent."""
        if self._closing or self._eof_written or not self.owner.alive:
            return
        self._eof_written = True
        if not self._backlog:
            self.pipe.send(Mark.FIN)

    def close(self) -> None:
        """Sends what is buffered, then closes."""
        if self._closing or not self.owner.alive:
            return
        self._closing = True
        if not self._backlog:
            self._loop.call_soon(self._connection_lost, None, context=self._context)

    def abort(self) -> None:
        """Closes without sending what is buffered."""
        self._force_close(None)

    def is_closing(self) -> bool:
        """Whether it is closed or about to."""
        return self._closing or not self.owner.alive

    def pause_reading(self) -> None:
        """Leaves what arrives with the kernel, so that the other side's window fills."""
        self._reading = False

    def resume_reading(self) -> None:
        """Goes on."""
        if not self._reading:
            self._reading = True
            self._set_deliver()

    def is_reading(self) -> bool:
        """Whether it reads."""
        return self._reading and not self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._backlog_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The marks (low, high), in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio. Raises ValueError."""
        if high is None:
            high = WRITE_HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low
        if self._backlog_bytes > self._high and not self._writing_paused:
            self._writing_paused = True
            self._call_protocol("pause_writing")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands the connection to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who hears of the connection."""
        assert self._protocol is not None
        return self._protocol

    # Life

    def start(self, protocol: asyncio.BaseProtocol, made: "asyncio.Future[None] | None") -> None:
        """The connection stands: tells the protocol in a step of its own, then `made`."""
        self._protocol = protocol
        self._loop.call_soon(self._start, made, context=self._context)

    def _start(self, made: "asyncio.Future[None] | None") -> None:
        assert self._protocol is not None
        self._started = True
        self._protocol.connection_made(self)
        if self._received or self._received_eof:
            self._set_deliver()
        if made is not None and not made.done():
            made.set_result(None)

    def _force_close(self, error: OSError | None) -> None:
        if self._lost or not self.owner.alive:
            return
        self._lost = self._closing = True
        self._backlog.clear()
        self._backlog_bytes = 0
        self._loop.call_soon(self._connection_lost, error, context=self._context)

    def _connection_lost(self, error: OSError | None) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.detach(self)
        if not self.gone:
            # Closing with bytes unread tells the other side that they were lost, by a reset.
            self.kernel_close(reset=bool(self._received))
        self._lost = True
        protocol, self._protocol = self._protocol, None
        if protocol is not None and self._started:
            protocol.connection_lost(error)

    def _call_protocol(self, name: str) -> None:
        # pause_writing and resume_writing are called from inside `write`, as asyncio does.
        if self._protocol is not None:
            getattr(self._protocol, name)()

    # Reading

    def _set_deliver(self) -> None:
        if not self._deliver_set and self._started and self._reading and not self._closing:
            self._deliver_set = True
            self._loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._deliver_set = False
        if self._closing or not self._reading or self._protocol is None:
            return
        if not self._received:
            if self._received_eof:
                self._deliver_eof()
            return
        data = self._received.popleft() if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        size = min(len(data), READ_BYTES_MAX)
        if size > 1 and self._net.options.split_probability > self._net.random.random():
            size = self._net.random.randrange(1, size)
        if size < len(data):
            self._received.append(data[size:])
            data = data[:size]
        if self._received or self._received_eof:
            self._set_deliver()
        self.back.read(size)
        try:
            self._hand_over(data)
        except BaseException:
            self._force_close(None)
            raise

    def _hand_over(self, data: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            cast(asyncio.Protocol, protocol).data_received(data)
            return
        while data and not self._closing:
            buffer = memoryview(protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]

    def _deliver_eof(self) -> None:
        self._received_eof = False
        protocol = cast(asyncio.Protocol, self._protocol)
        if not protocol.eof_received():
            self.close()

    # What the kernel does

    @property
    def wants_room(self) -> bool:
        """Whether the process has more to send than the window took."""
        return bool(self._backlog)

    def room_made(self) -> None:
        """The window has opened a little."""
        if not self.gone:
            self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        window = self._net.options.window_bytes
        while self._backlog and (room := window - self.pipe.in_flight_bytes) > 0:
            payload = self._backlog.popleft()
            if len(payload) > room:
                self._backlog.appendleft(payload[room:])
                payload = payload[:room]
            self._backlog_bytes -= len(payload)
            self.pipe.send(payload)
        if self._writing_paused and self._backlog_bytes <= self._low:
            self._writing_paused = False
            self._call_protocol("resume_writing")
        if not self._backlog and not self._lost:
            if self._closing:
                self._lost = True
                self._loop.call_soon(self._connection_lost, None, context=self._context)
            elif self._eof_written:
                self.pipe.send(Mark.FIN)

    def take(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.gone:
            self.back.drop_in_flight()
            self.pipe.send(Mark.RST)
            return
        self._received.append(data)
        self._set_deliver()

    def take_mark(self, mark: Mark) -> None:
        """The other side has ended its direction, or has reset the connection."""
        if self.gone:
            return
        if mark is Mark.RST:
            self.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        else:
            self._received_eof = True
            self._set_deliver()

    def broken(self, error: OSError) -> None:
        """The connection is no more: drops all that is on its way, and tells the process."""
        if self.gone:
            return
        self.gone = True
        self.pipe.drop_in_flight()
        self._received.clear()
        self._net.forget(self)
        self._loop.call_soon(self._force_close, error, context=self._context)

    def kernel_close(self, *, reset: bool) -> None:
        """The process has closed it, or is gone: the kernel tells the other side."""
        if self.gone:
            return
        self.gone = True
        self._received.clear()
        self._net.forget(self)
        if reset:
            self.pipe.send(Mark.RST)
        elif not self._eof_written or self._backlog:
            self.pipe.send(Mark.FIN)

    def vanish(self, *, keep_in_flight: bool) -> None:
        """The machine is gone, and says nothing."""
        self.gone = True
        self._received.clear()
        self._net.forget(self)
        if not keep_in_flight:
            self.pipe.drop_in_flight()
