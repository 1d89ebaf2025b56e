"""Other people's HTTP/2 and gRPC tools against our server, over h2c and TLS.

Each test needs its tool on the machine, and is skipped by the tool's name when that is missing. h2spec, grpcurl and
ghz install by Go (`go install github.com/summerwind/h2spec/cmd/h2spec@latest`), h2load by Debian's nghttp2-client.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs
from cluster.rpc import create_server, listen
from cluster.rpc.standard import add_standard_services
from runtime.real import StreamNet

SERVICE = "orrery.rpctest.v1.TestService"
PROTO = Path("proto/orrery/rpctest/v1/rpctest.proto")


class Servicer(stubs.TestServiceServicer):  # What it leaves out answers UNIMPLEMENTED.
    async def EmptyCall(self, request: pb.Empty, context: Any) -> pb.Empty:
        return pb.Empty()

    async def UnaryCall(self, request: pb.SimpleRequest, context: Any) -> pb.SimpleResponse:
        return pb.SimpleResponse(payload=request.payload)

    async def StreamingOutputCall(
        self, request: pb.StreamingOutputCallRequest, context: Any
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        for parameters in request.response_parameters:
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))


def tool(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=str(Path.home() / "go" / "bin"))
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    return path


async def run(*command: str, stdin: bytes = b"") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NO_PROXY": "*"},
    )
    async with asyncio.timeout(100):
        output, _ = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = create_server(net=StreamNet())
    make: Any = Servicer
    servicer = make()
    stubs.add_TestServiceServicer_to_server(servicer, server)
    health = await add_standard_services(server, [SERVICE])
    await health.serving(ready=True)
    yield await listen(server, "127.0.0.1:0")
    await server.stop(None)


async def test_h2spec_finds_nothing(port: int) -> None:
    code, output = await run(tool("h2spec"), "-h", "127.0.0.1", "-p", str(port), "-P", f"/{SERVICE}/EmptyCall")
    assert re.search(r"\d+ tests, \d+ passed, 0 skipped, 0 failed", output), output
    assert code == 0


async def test_grpcurl_by_reflection(port: int) -> None:
    grpcurl = tool("grpcurl")
    address = f"127.0.0.1:{port}"
    code, output = await run(grpcurl, "-plaintext", address, "list")
    assert (code, SERVICE in output) == (0, True), output
    message = '{"payload": {"body": "aGVsbG8="}}'
    code, output = await run(grpcurl, "-plaintext", "-d", message, address, f"{SERVICE}/UnaryCall")
    assert (code, json.loads(output)) == (0, json.loads(message))
    code, output = await run(grpcurl, "-plaintext", address, "grpc.health.v1.Health/Check")
    assert (code, json.loads(output)) == (0, {"status": "SERVING"})
    code, output = await run(grpcurl, "-plaintext", address, f"{SERVICE}/UnimplementedCall")
    assert "Unimplemented" in output


async def test_ghz_sees_no_error(port: int) -> None:
    code, output = await run(
        tool("ghz"), "--insecure", "--proto", str(PROTO), "--call", f"{SERVICE}.UnaryCall",
        "-d", '{"payload": {"body": "aGVsbG8="}}', "-n", "2000", "-c", "20", "--connections", "5", "-O", "json",
        f"127.0.0.1:{port}",
    )  # fmt: skip
    assert code == 0, output
    assert json.loads(output)["statusCodeDistribution"] == {"OK": 2000}


async def test_curl_with_prior_knowledge(port: int) -> None:
    code, output = await run(
        tool("curl"), "-sv", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers",
        "--data-binary", "@-", f"http://127.0.0.1:{port}/{SERVICE}/EmptyCall", stdin=b"\0" * 5,
    )  # fmt: skip
    assert code == 0, output
    assert "HTTP/2 200" in output
    assert "grpc-status: 0" in output


async def test_h2load_sees_no_error(port: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"\0" * 5)
    code, output = await run(
        tool("h2load"), "-n", "5000", "-c", "10", "-m", "20", "-d", str(body), "-H", "content-type: application/grpc",
        f"http://127.0.0.1:{port}/{SERVICE}/EmptyCall",
    )  # fmt: skip
    assert code == 0
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in output, output
