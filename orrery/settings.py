"""`orrery up --set kv.engine=lsm`: what the operator wants otherwise of a service, in all of its nodes.

A setting is remembered in the cluster's state, and written into the file of each node when that is started. Values are
checked as the service itself would check them, before anything is started.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import cast

import msgspec

from orrery.errors import OperatorError
from orrery.services import SERVICES, ServiceSpec
from orrery.toml import Document, Value
from runtime.config import ConfigError, load, parse

Settings = dict[str, dict[str, Value]]
"""By service; then by the key's path in the service's configuration, `kv.engine`."""


def parse_settings(texts: Sequence[str]) -> Settings:
    """What `--set` was given, in its order: `kv.engine=lsm`, `kv.log.level=debug`; the same key again replaces it.

    The first word is the service; what follows is a key of its own section, or `section.key`. Raises OperatorError that
    names what it does not know.
    """
    settings: Settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        service, dot, key = name.strip().partition(".")
        if not equals or not dot or not key:
            raise OperatorError(f"--set {text}: say SERVICE.KEY=VALUE, as in --set kv.engine=lsm", code=2)
        spec = SERVICES.get(service)
        if spec is None:
            raise OperatorError(
                f"--set {text}: there is no service {service!r}; there are: {', '.join(SERVICES)}", code=2
            )
        path = key if "." in key else f"{service}.{key}"
        try:
            found = parse(config_of(spec), path, value.strip(), "--set")
        except ConfigError as error:
            raise OperatorError(f"--set {text}: {error.reason}", code=2) from error
        settings.setdefault(service, {})[path] = cast("Value", found)
    return settings


def require_free(settings: Mapping[str, Value], decided: Document) -> None:
    """Raises OperatorError for a key that `orrery up` decides by itself: who listens where is its own affair."""
    for path in settings:
        at: object = decided
        for part in path.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if at is not None:
            raise OperatorError(
                f"--set: `orrery up` decides {path} by itself; see --port-base, --host and --profile", code=2
            )


def require_valid(spec: ServiceSpec, toml: str) -> None:
    """Reads a node's file as the node will. Raises OperatorError: what is right by itself may not be together."""
    try:
        load(config_of(spec), toml, {}, file=f"the settings of {spec.name}")
    except ConfigError as error:
        raise OperatorError(f"--set: {error}", code=2) from error


def config_of(spec: ServiceSpec) -> type[msgspec.Struct]:
    """The class of a service's configuration; imports it."""
    module, _, name = spec.config.partition(":")
    return cast("type[msgspec.Struct]", getattr(import_module(module), name))
