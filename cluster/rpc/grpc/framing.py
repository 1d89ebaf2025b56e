"""Messages in the byte stream of a call: a flag, a length, and the bytes (gRPC over HTTP/2, "Length-Prefixed-Message").

Limits: a message is at most `message_bytes_max` long, before and after decompression; its length is judged as soon as
the prefix is in, so nothing is collected for one that will be refused.
"""

import struct
import zlib

import grpc

PREFIX = struct.Struct(">BI")
PREFIX_BYTES = 5
MESSAGE_OVERHEAD_BYTES = 64
"""What a waiting message costs beside its own bytes. Without it, empty messages could wait without limit."""
_length = struct.Struct(">I").unpack_from

IDENTITY = b"identity"
GZIP = b"gzip"
DEFLATE = b"deflate"
ACCEPTED_ENCODINGS = b"identity,deflate,gzip"
_WINDOW_BITS = {GZIP: 16 + zlib.MAX_WBITS, DEFLATE: zlib.MAX_WBITS}
COMPRESSION_LEVEL = 6

ENCODING_OF = {
    grpc.Compression.NoCompression: IDENTITY,
    grpc.Compression.Deflate: DEFLATE,
    grpc.Compression.Gzip: GZIP,
}


class CallFault(Exception):
    """A call cannot go on, and ends with `code`: its bytes are not messages, or break a limit."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def compress(payload: bytes, encoding: bytes) -> bytes:
    """`payload` in one of the encodings that `ENCODING_OF` names."""
    packer = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return packer.compress(payload) + packer.flush()


def decompress(payload: bytes, encoding: bytes, message_bytes_max: int) -> bytes:
    """The message behind a compressed payload. Raises CallFault, also when it would grow beyond its limit."""
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise CallFault(grpc.StatusCode.INTERNAL, "a compressed message, but grpc-encoding named no compression")
    unpacker = zlib.decompressobj(bits)
    try:
        message = unpacker.decompress(payload, message_bytes_max + 1)
    except zlib.error as error:
        raise CallFault(grpc.StatusCode.INTERNAL, f"a message that does not decompress: {error}") from None
    if len(message) > message_bytes_max:
        raise _too_long(len(message), message_bytes_max)
    if not unpacker.eof:
        raise CallFault(grpc.StatusCode.INTERNAL, "a compressed message that is cut short")
    return message


def _too_long(length: int, message_bytes_max: int) -> CallFault:
    return CallFault(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"Received message larger than max ({length} vs. {message_bytes_max})",
    )


class Assembler:
    """Cuts a call's bytes into messages."""

    __slots__ = ("_buffer", "_encoding", "_need", "message_bytes_max")

    def __init__(self, encoding: bytes, message_bytes_max: int) -> None:
        self._encoding = encoding
        self.message_bytes_max = message_bytes_max
        # A bytearray, since a list of pieces would cost many times their bytes for a peer that sends tiny frames.
        self._buffer = bytearray()
        self._need = PREFIX_BYTES

    @property
    def empty(self) -> bool:
        """Whether the stream may end here: no message is half received."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that `data` completes. Raises CallFault."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return []
            # Taken out only when a prefix or a message is complete, so long messages are copied once.
            data = bytes(self._buffer)
            self._buffer.clear()
        messages: list[bytes] = []
        at = 0
        end = len(data)
        self._need = PREFIX_BYTES
        while end - at >= PREFIX_BYTES:
            flag = data[at]
            (length,) = _length(data, at + 1)
            if length > self.message_bytes_max:
                raise _too_long(length, self.message_bytes_max)
            stop = at + PREFIX_BYTES + length
            if stop > end:
                self._need = PREFIX_BYTES + length
                break
            payload = data[at + PREFIX_BYTES : stop]
            if flag == 1:
                payload = decompress(payload, self._encoding, self.message_bytes_max)
            elif flag:
                raise CallFault(grpc.StatusCode.INTERNAL, f"message flag {flag} is not known")
            messages.append(payload)
            at = stop
        if at < end:
            self._buffer += data[at:]
        return messages
