"""SETTINGS (RFC 9113 section 6.5): what the peer told us, checked as it arrives."""

from cluster.rpc.http2.errors import ErrorCode, RemoteFault
from cluster.rpc.http2.frames import SETTING, WINDOW_MAX

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6
ENABLE_CONNECT_PROTOCOL = 0x8
NO_RFC7540_PRIORITIES = 0x9

SETTINGS_PER_FRAME_MAX = 64
"""Settings in one frame; the protocol knows fewer than ten."""
UNLIMITED = 0xFFFF_FFFF


class PeerSettings:
    """The peer's current values, with the protocol's defaults until it says otherwise."""

    __slots__ = ("frame_bytes_max", "header_list_bytes_max", "initial_window_bytes", "streams_max")

    def __init__(self) -> None:
        self.initial_window_bytes = 65_535
        self.frame_bytes_max = 16_384
        self.streams_max = UNLIMITED
        self.header_list_bytes_max = UNLIMITED

    def apply(self, payload: bytes, *, from_server: bool) -> None:
        """Takes over the settings of one frame, in order. Raises RemoteFault for values out of range."""
        if len(payload) > SETTINGS_PER_FRAME_MAX * SETTING.size:
            raise RemoteFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings in one frame")
        for identifier, value in SETTING.iter_unpack(payload):
            if identifier == INITIAL_WINDOW_SIZE:
                if value > WINDOW_MAX:
                    raise RemoteFault(ErrorCode.FLOW_CONTROL_ERROR, f"initial window of {value}")
                self.initial_window_bytes = value
            elif identifier == MAX_FRAME_SIZE:
                if not 16_384 <= value <= 16_777_215:
                    raise RemoteFault(ErrorCode.PROTOCOL_ERROR, f"maximum frame size of {value}")
                self.frame_bytes_max = value
            elif identifier == MAX_CONCURRENT_STREAMS:
                self.streams_max = value
            elif identifier == MAX_HEADER_LIST_SIZE:
                self.header_list_bytes_max = value
            elif identifier == ENABLE_PUSH and (value > 1 or (from_server and value)):
                raise RemoteFault(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
