"""`orrery serve`: one process of a service in the foreground. What a container runs, and what `orrery up` starts.

Imports nothing of the other commands: what is loaded here stays in memory in every process of the cluster.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

import msgspec

from orrery.log_file import LogFile
from orrery.loopback import is_loopback
from orrery.services import SERVICES, ServiceSpec
from orrery.value_files import with_files_read
from runtime.config import ConfigError, load
from runtime.logs import configure_logs
from runtime.process import StopSignal, run_process

STOP_S_MAX = 10.0
"""How long a service may take to stop once asked; below the supervisor's own patience (supervisor.STOP_S_MAX)."""
EXIT_USAGE = 2

Serve = Callable[[msgspec.Struct, StopSignal], Awaitable[None]]


class _Refused(Exception):
    """The process cannot be started as it was asked to; the text says why."""


def serve(
    service: str, config: str | None, node: str | None, data_dir: str | None, log_file: str | None, insecure: bool
) -> int:
    """Runs the service until it is asked to stop; returns the exit code."""
    try:
        bounded = LogFile(log_file) if log_file is not None else None
        spec = SERVICES.get(service)
        if spec is None:
            raise _Refused(f"there is no service {service!r}; there are: {', '.join(SERVICES)}")
        loaded = with_files_read(_load(spec, config or os.environ.get("ORRERY_CONFIG"), node, data_dir))
        if not insecure:
            _require_loopback(loaded)
        name = str(getattr(loaded, "node", ""))
        level = str(getattr(getattr(loaded, "log", None), "level", "info"))
        configure_logs(service, name, level=level.upper())
        function = cast("Serve", import_module(spec.module).serve)
    except (_Refused, ConfigError, OSError, ValueError) as error:
        print(f"orrery serve: {error}", file=sys.stderr)
        return EXIT_USAGE

    async def run(stop: StopSignal) -> None:
        if bounded is not None:
            bounded.start()
        try:
            await function(loaded, stop)
        finally:
            if bounded is not None:
                bounded.stop()

    return run_process(run, STOP_S_MAX)


def _load(spec: ServiceSpec, file: str | None, node: str | None, data_dir: str | None) -> msgspec.Struct:
    """The service's configuration. Options go before the environment, and that before the file."""
    module, _, name = spec.config.partition(":")
    kind = cast("type[msgspec.Struct]", getattr(import_module(module), name))
    options = {"ORRERY_NODE": node, "ORRERY_DATA_DIR": data_dir}
    environment = dict(os.environ) | {key: value for key, value in options.items() if value is not None}
    text = Path(file).read_text(encoding="utf-8") if file is not None else None
    return load(kind, text, environment, file=file or "no file")


def _require_loopback(config: msgspec.Struct) -> None:
    """Refuses a listener that other machines can reach: nothing asks them who they are yet."""
    for key, address in _listeners(config, ""):
        host = address.rpartition(":")[0]
        if address and not is_loopback(host):
            raise _Refused(f"{key} = {address!r} can be reached from other machines; say --insecure if that is wanted")


def _listeners(config: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, msgspec.Struct):
            yield from _listeners(value, f"{prefix}{field.name}.")
        elif field.name == "listen" or field.name.endswith("_listen"):
            for address in (value,) if isinstance(value, str) else value:
                yield f"{prefix}{field.name}", address
