"""Memory of idle connections and streams: `python -m bench.rpc.memory [ENGINE]`.

Method: raw HTTP/2 clients in this process open connections, then bidirectional calls that stay silent, at a server in
another process; the growth of its resident set is divided by their number.
"""

import asyncio
import sys
from pathlib import Path

from bench.rpc.__main__ import SERVICE, running
from cluster.rpc.http2 import encode_headers, frames

CONNECTIONS = 1_000
STREAMS = 10_000
REQUEST = encode_headers(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"{SERVICE}FullDuplexCall".encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def settled(pid: int) -> int:
    """The resident set once it has stopped growing."""
    before = -1
    while (now := resident_bytes(pid)) != before:
        before = now
        await asyncio.sleep(0.5)
    return now


async def measure(pid: int, port: int) -> tuple[float, float]:
    empty = await settled(pid)
    writers = []
    for _ in range(CONNECTIONS):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frames.PREFACE + frames.settings_frame({}))
        writers.append(writer)
    connected = await settled(pid)
    for writer in writers:
        for number in range(STREAMS // CONNECTIONS):
            writer.write(frames.headers_frames(2 * number + 1, REQUEST, 0, 16_384))
    streaming = await settled(pid)
    for writer in writers:
        writer.transport.abort()
    return (connected - empty) / CONNECTIONS, (streaming - connected) / STREAMS


def main() -> None:
    engine = sys.argv[1] if len(sys.argv) > 1 else "ours"
    with running(engine) as (pid, port):
        connection, stream = asyncio.run(measure(pid, port))
    print(f"{engine}: {connection / 1024:.1f} KiB a connection, {stream / 1024:.1f} KiB an idle stream")


if __name__ == "__main__":
    main()
