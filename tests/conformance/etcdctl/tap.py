"""A TCP relay that knows when a watch is established.

etcdctl prints nothing when the server has confirmed a watch, and a test that guesses by sleeping is wrong one day.
The relay stands between etcdctl and one member, forwards every byte unchanged, and counts the gRPC messages that
come back (RFC 9113 section 4.1 for frames; a gRPC message is a 5 byte prefix and its length): the first messages of
a watch stream are the confirmations.
"""

import contextlib
import socket
import threading

FRAME_HEADER = 9
DATA = 0
PADDED = 0x8
MESSAGE_HEADER = 5
CHUNK = 65536


class MessageCounter:
    """Counts the gRPC messages in the bytes that a server sends. Sans I/O."""

    def __init__(self) -> None:
        self.messages = 0
        self._frames = bytearray()
        self._streams: dict[int, bytearray] = {}

    def receive(self, data: bytes) -> None:
        """Takes the next bytes of the connection."""
        self._frames += data
        while len(self._frames) >= FRAME_HEADER:
            length = int.from_bytes(self._frames[:3], "big")
            if len(self._frames) < FRAME_HEADER + length:
                return
            kind, flags = self._frames[3], self._frames[4]
            stream = int.from_bytes(self._frames[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._frames[FRAME_HEADER : FRAME_HEADER + length])
            del self._frames[: FRAME_HEADER + length]
            if kind == DATA:
                if flags & PADDED:
                    payload = payload[1 : len(payload) - payload[0]]
                self._message_bytes(stream, payload)

    def _message_bytes(self, stream: int, payload: bytes) -> None:
        pending = self._streams.setdefault(stream, bytearray())
        pending += payload
        while len(pending) >= MESSAGE_HEADER:
            end = MESSAGE_HEADER + int.from_bytes(pending[1:MESSAGE_HEADER], "big")
            if len(pending) < end:
                return
            del pending[:end]
            self.messages += 1


class Tap:
    """The relay. `address` is where to connect to; `messages` is what came back so far."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._counters: list[MessageCounter] = []
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def messages(self) -> int:
        """How many gRPC messages the server has sent through this relay."""
        return sum(counter.messages for counter in self._counters)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                counter = MessageCounter()
                self._counters.append(counter)
                self._sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, counter), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, counter: MessageCounter | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
                if counter is not None:
                    counter.receive(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends every connection through the relay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
