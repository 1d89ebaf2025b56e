"""Logs carry their fields, in either form."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from runtime.logs import configure_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_carry_the_fields() -> None:
    stream = io.StringIO()
    configure_logs("kv", "kv-1", stream=stream)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("raft").exception("broke\nhere", extra={"group": 3, "data": b"x", "level": "mine"})
    logging.getLogger("raft").debug("quiet")
    (line,) = stream.getvalue().splitlines()
    got = json.loads(line)
    assert (got["service"], got["node"], got["level"], got["group"]) == ("kv", "kv-1", "error", 3)
    assert got["message"] == "broke\nhere"
    assert "ValueError: why" in got["error"]


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure_logs("kv", "kv-1", stream=stream, level="debug")
    logging.getLogger("raft").debug("leader is %d", 2, extra={"term": 7})
    assert "kv-1 leader is 2" in stream.getvalue()
    assert "term=" in stream.getvalue()
