"""What can go wrong on an HTTP/2 connection, named by whose fault it is.

A `RemoteFault` is the peer's: it broke the protocol or one of our limits, and is told so by an error code (RFC 9113
section 7). A `LocalFault` is ours: the caller asked this engine for something that the protocol forbids. The peer
never hears of it, and a test should.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Error codes of RST_STREAM and GOAWAY (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class RemoteFault(Exception):
    """The peer broke the protocol or a limit, and the whole connection ends with GOAWAY and `code`."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class StreamFault(RemoteFault):
    """The peer broke the protocol on one stream, which ends with RST_STREAM and `code`. The connection goes on."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.stream_id = stream_id


class LocalFault(Exception):
    """This side asked for what the protocol forbids, such as data on a stream that it has already ended."""
