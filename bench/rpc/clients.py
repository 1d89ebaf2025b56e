"""One client process of the benchmark: `python -m bench.rpc.clients ENGINE PORT CONCURRENCY SECONDS`; prints JSON."""

import asyncio
import json
import sys
import time
from typing import Any

import grpc.aio
import uvloop

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs
from cluster.rpc.grpc import Channel
from runtime.real import StreamNet, SystemRandomness

WARM_UP = 200


async def main(engine: str, port: int, concurrency: int, duration_s: float) -> None:
    target = f"127.0.0.1:{port}"
    channel: grpc.aio.Channel
    if engine == "ours":
        channel = Channel(target, StreamNet(), SystemRandomness())
    else:
        channel = grpc.aio.insecure_channel(target)
    stub: Any = stubs.TestServiceStub(channel)
    request = pb.SimpleRequest(payload=pb.Payload(body=b"x" * 32))
    for _ in range(WARM_UP):
        await stub.UnaryCall(request)
    latencies_s: list[float] = []
    deadline_s = time.monotonic() + duration_s

    async def call() -> None:
        while (started_s := time.monotonic()) < deadline_s:
            await stub.UnaryCall(request)
            latencies_s.append(time.monotonic() - started_s)

    cpu_s = time.process_time()
    started_s = time.monotonic()
    await asyncio.gather(*(call() for _ in range(concurrency)))
    elapsed_s = time.monotonic() - started_s
    cpu_s = time.process_time() - cpu_s
    latencies_s.sort()
    print(
        json.dumps(
            {
                "calls_per_s": len(latencies_s) / elapsed_s,
                "cpu_us_per_call": cpu_s * 1e6 / len(latencies_s),
                "p99_ms": latencies_s[len(latencies_s) * 99 // 100] * 1000,
            }
        )
    )
    await channel.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
