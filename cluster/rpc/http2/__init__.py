"""HTTP/2 without I/O (RFC 9113, RFC 7541): a state machine that takes bytes and returns events, for both roles."""

from cluster.rpc.http2.connection import Connection
from cluster.rpc.http2.errors import ErrorCode, LocalFault, RemoteFault, StreamFault
from cluster.rpc.http2.headers import Field, HeaderBlock, HeaderDecoder, encode_headers
from cluster.rpc.http2.limits import Allowance, Limits
from cluster.rpc.http2.stream import Stream

__all__ = [
    "Allowance",
    "Connection",
    "ErrorCode",
    "Field",
    "HeaderBlock",
    "HeaderDecoder",
    "Limits",
    "LocalFault",
    "RemoteFault",
    "Stream",
    "StreamFault",
    "encode_headers",
]
