"""A servicer that follows gRPC's interoperability test descriptions, and every pairing of engines to play them on."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs
from cluster.rpc.grpc import Channel, Server, ServerOptions
from runtime.real import StreamNet, SystemRandomness

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Stop: TypeAlias = Callable[[], Awaitable[None]]

INITIAL_KEY = "x-grpc-test-echo-initial"
TRAILING_KEY = "x-grpc-test-echo-trailing-bin"


class TestServicer(stubs.TestServiceServicer):
    """What "test_service.proto" asks of a server."""

    __test__ = False

    def __init__(self) -> None:
        self.over = asyncio.Event()
        """Set when a streaming call has left the servicer, however."""

    async def _echo_metadata(self, context: Context) -> None:
        for key, value in context.invocation_metadata() or ():
            if key == INITIAL_KEY:
                await context.send_initial_metadata(((key, value),))
            elif key == TRAILING_KEY:
                context.set_trailing_metadata(((key, value),))

    def _status(self, status: pb.EchoStatus, context: Context) -> None:
        if status.code:
            context.set_code(next(code for code in grpc.StatusCode if code.value[0] == status.code))
            context.set_details(status.message)

    async def EmptyCall(self, request: pb.Empty, context: Context) -> pb.Empty:
        await self._echo_metadata(context)
        return pb.Empty()

    async def UnimplementedCall(self, request: pb.Empty, context: Context) -> pb.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")

    async def UnaryCall(self, request: pb.SimpleRequest, context: Context) -> pb.SimpleResponse:
        if request.response_compressed:
            context.set_compression(grpc.Compression.Gzip)
        await self._echo_metadata(context)
        self._status(request.response_status, context)
        return pb.SimpleResponse(payload=pb.Payload(body=b"\0" * request.response_size))

    async def StreamingOutputCall(
        self, request: pb.StreamingOutputCallRequest, context: Context
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        try:
            if any(parameters.compressed for parameters in request.response_parameters):
                context.set_compression(grpc.Compression.Gzip)
            await self._echo_metadata(context)
            for parameters in request.response_parameters:
                if parameters.interval_us:
                    await asyncio.sleep(parameters.interval_us / 1e6)
                yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))
        finally:
            self.over.set()

    async def StreamingInputCall(
        self, request_iterator: AsyncIterator[pb.StreamingInputCallRequest], context: Context
    ) -> pb.StreamingInputCallResponse:
        size = 0
        try:
            async for request in request_iterator:
                size += len(request.payload.body)
        finally:
            self.over.set()
        return pb.StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(
        self, request_iterator: AsyncIterator[pb.StreamingOutputCallRequest], context: Context
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        try:
            await self._echo_metadata(context)
            async for request in request_iterator:
                if request.response_status.code:
                    self._status(request.response_status, context)
                    return
                for parameters in request.response_parameters:
                    if parameters.interval_us:
                        await asyncio.sleep(parameters.interval_us / 1e6)
                    yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))
        finally:
            self.over.set()


@dataclass(frozen=True)
class Certificates:
    """Files of a throw-away CA, and of a server and a client that it signed."""

    folder: Path

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def server_context(self, *, mutual: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.set_alpn_protocols(["h2", "http/1.1"])
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.folder / "ca.pem")
        return context

    def client_context(self, *, mutual: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.set_alpn_protocols(["h2"])
        if mutual:
            context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on this machine, so there are no certificates for TLS")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for name in ("server", "client"):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "extensions").write_text("subjectAltName=DNS:localhost,DNS:" + name)
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "extensions")  # fmt: skip
    return Certificates(folder)


@dataclass(frozen=True)
class Pairing:
    """Which engine serves, which calls, and over what."""

    server: str
    client: str
    tls: bool

    def __str__(self) -> str:
        return f"{self.client}-to-{self.server}-{'tls' if self.tls else 'h2c'}"


PAIRINGS = [
    Pairing(server, client, tls)
    for tls in (False, True)
    for server in ("ours", "grpcio")
    for client in ("ours", "grpcio")
]


@dataclass
class Bench:
    """A running server and a channel to it."""

    servicer: TestServicer
    channel: grpc.aio.Channel
    stub: "stubs.TestServiceAsyncStub"
    pairing: Pairing
    port: int


async def serve_ours(servicer: TestServicer, context: ssl.SSLContext | None) -> tuple[int, Stop]:
    server = Server(StreamNet(), ServerOptions(linger_s_max=0.1))
    stubs.add_TestServiceServicer_to_server(servicer, server)
    port = await server.listen("127.0.0.1", 0, tls=context)
    return port, lambda: server.stop(None)


async def serve_grpcio(servicer: TestServicer, certificates: Certificates | None) -> tuple[int, Stop]:
    server = grpc.aio.server()
    stubs.add_TestServiceServicer_to_server(servicer, server)
    if certificates is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        credentials = grpc.ssl_server_credentials([(certificates.read("server.key"), certificates.read("server.pem"))])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    return port, lambda: server.stop(None)


@pytest.fixture(params=PAIRINGS, ids=str)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    pairing: Pairing = request.param
    certificates: Certificates | None = request.getfixturevalue("certificates") if pairing.tls else None
    servicer = TestServicer()
    if pairing.server == "ours":
        port, stop = await serve_ours(servicer, certificates.server_context() if certificates else None)
    else:
        port, stop = await serve_grpcio(servicer, certificates)
    channel: grpc.aio.Channel
    if pairing.client == "ours":
        channel = Channel(
            f"127.0.0.1:{port}",
            StreamNet(),
            SystemRandomness(),
            tls=certificates.client_context() if certificates else None,
            server_hostname="localhost" if certificates else None,
        )
    elif certificates is None:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    else:
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{port}",
            grpc.ssl_channel_credentials(certificates.read("ca.pem")),
            options=[("grpc.ssl_target_name_override", "localhost")],
        )
    try:
        yield Bench(servicer, channel, stubs.TestServiceStub(channel), pairing, port)
    finally:
        await channel.close()
        await stop()
