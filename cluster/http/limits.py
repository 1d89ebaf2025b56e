"""How much a peer may ask of a connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one HTTP connection. Whoever passes one is answered (414, 431, 413, 408) and disconnected."""

    target_bytes_max: int = 8 * 1024
    """Bytes of the request target (path and query). Answer: 414."""
    header_bytes_max: int = 32 * 1024
    """Bytes of the request line and all header fields, trailers included. Answer: 431."""
    headers_max: int = 100
    """Header fields of a request, trailers included. Answer: 431."""
    body_bytes_max: int = 4 * 1024 * 1024
    """Bytes of a request's body, after chunks have been joined. Answer: 413."""
    receive_s_max: float = 30.0
    """Seconds from the first byte of a request to its last: a peer that dribbles is not waited for. Answer: 408."""
    idle_s_max: float = 120.0
    """Seconds that a connection may stay open between requests."""
    write_s_max: float = 60.0
    """Seconds that a response's next part may wait for the peer to take what was written before."""
    half_closed_s_max: float = 30.0
    """Seconds that a request may still be worked on after its peer has closed its side: most such peers are gone."""
    pipelined_max: int = 64
    """Requests that may be read ahead of the one being answered; a connection that sends more is closed."""
    connections_max: int = 1024
    """Open connections of one listener; further ones are closed at once."""
