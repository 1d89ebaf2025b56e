"""Asks a process's admin port, with nothing but a socket: a container's health check starts often."""

import socket

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class Unreachable(Exception):
    """No usable answer; the text says why."""


def get(host: str, port: int, path: str, timeout_s: float = 2.0, accept: str = "text/plain") -> tuple[int, bytes]:
    """The status and body of a GET. Raises Unreachable. The timeout is for each wait, and waits are few."""
    request = f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    answer = bytearray()
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(request.encode("latin-1"))
            while part := connection.recv(65536):
                answer += part
                if len(answer) > ANSWER_BYTES_MAX:
                    raise Unreachable("the answer is too large")
    except OSError as error:
        raise Unreachable(error.strerror or str(error) or type(error).__name__) from error
    head, separator, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise Unreachable("what listens there does not speak HTTP")
    return int(words[1]), body
