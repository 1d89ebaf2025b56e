"""Structured logs over the standard library's logging: JSON lines for machines, coloured lines on a terminal.

Fields are given by `extra=`: `log.info("became leader", extra={"group": 3, "term": 7})`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave by `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, service, node, logger, message, the fields, error."""

    def __init__(self, service: str, node: str) -> None:
        super().__init__()
        self._service = service
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "node": self._node,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in fields_of(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TerminalFormatter(logging.Formatter):
    """`12:00:00.123 INFO kv-1 became leader group=3`, coloured."""

    def __init__(self, service: str, node: str) -> None:
        super().__init__()
        self._who = node or service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; a traceback follows on lines of its own."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        colour = _COLOURS.get(record.levelname, "0")
        fields = "".join(f" \x1b[2m{key}=\x1b[0m{value}" for key, value in fields_of(record).items())
        line = f"{time} \x1b[{colour}m{record.levelname:<8}\x1b[0m {self._who} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logs(service: str, node: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends all logs to `stream` (stderr by default), replacing what was configured before.

    Raises ValueError for an unknown level.
    """
    target = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(TerminalFormatter(service, node) if target.isatty() else JsonFormatter(service, node))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
