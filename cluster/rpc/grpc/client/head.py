"""What a response's header blocks say, read once for all responses that repeat them."""

import grpc

from cluster.rpc.grpc.framing import IDENTITY
from cluster.rpc.grpc.metadata import Pairs, read_metadata
from cluster.rpc.grpc.status import OK, code_of_number, decode_message, status_of_http
from cluster.rpc.http2 import HeaderBlock


class ResponseTrailers:
    """The status at the end of a call."""

    __slots__ = ("code", "details", "metadata")

    def __init__(self, block: HeaderBlock) -> None:
        self.code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
        self.details = "the response ends without a status"
        self.metadata: Pairs = ()
        status = b""
        message = b""
        http_status = b""
        for name, value in block.fields:
            if name == b"grpc-status":
                status = value
            elif name == b"grpc-message":
                message = value
            elif name == b":status":
                http_status = value
        if status:
            self.code = code_of_number(status)
            self.details = decode_message(message)
        elif http_status and http_status != b"200":
            self.code = status_of_http(http_status)
            self.details = f"Received http2 header with status: {http_status.decode()}"
        try:
            self.metadata = read_metadata(block.fields)
        except ValueError as error:
            self.code = grpc.StatusCode.INTERNAL
            self.details = str(error)


class ResponseHead:
    """The headers before the messages of a response."""

    __slots__ = ("code", "details", "encoding", "metadata")

    def __init__(self, block: HeaderBlock) -> None:
        self.code = OK
        """Other than OK when the response is not one of gRPC's: the call fails with it at once."""
        self.details = ""
        self.metadata: Pairs = ()
        self.encoding = IDENTITY
        http_status = block.fields[0][1]
        content_type = b""
        for name, value in block.fields:
            if name == b"content-type":
                content_type = value
            elif name == b"grpc-encoding":
                self.encoding = value
        if http_status != b"200":
            self.code = status_of_http(http_status)
            self.details = f"Received http2 header with status: {http_status.decode()}"
        elif not content_type.startswith(b"application/grpc"):
            self.code = grpc.StatusCode.UNKNOWN
            self.details = f"Unexpected content-type: {content_type.decode('ascii', 'replace')}"
        try:
            self.metadata = read_metadata(block.fields)
        except ValueError as error:
            self.code = grpc.StatusCode.INTERNAL
            self.details = str(error)
