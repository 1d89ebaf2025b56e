"""Typed configuration from one TOML file and the environment.

A configuration is a msgspec Struct with `forbid_unknown_fields=True`, nested for sections; every field is
`Annotated[type, msgspec.Meta(description=..., ge=...)]`. The environment overrides the file: `ORRERY_KV__LISTEN` is
`listen` of `[kv]`; lists are separated by commas.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

PREFIX = "ORRERY_"
RESERVED = frozenset(
    {
        "ORRERY_CONFIG",
        "ORRERY_DATA_DIR",
        "ORRERY_DNS",
        "ORRERY_FAILPOINTS",
        "ORRERY_GATEWAY_URL",
        "ORRERY_KAFKA_BOOTSTRAP",
        "ORRERY_LOCK_ENDPOINTS",
        "ORRERY_PEERS",
        "ORRERY_REGISTRY_ENDPOINTS",
    }
)
"""Names that are no configuration: `orrery env` exports them for clients, or the command itself reads them. One that a
configuration declares at its top level (`peers`, say) is read all the same."""
TOML_BYTES_MAX = 1 << 20

C = TypeVar("C", bound=msgspec.Struct)


class ConfigError(ValueError):
    """A key or value that cannot be used; the message names it, its source, and what was expected."""

    def __init__(self, key: str, source: str, reason: str) -> None:
        super().__init__(f"{key} ({source}): {reason}" if key else f"{source}: {reason}")
        self.key = key
        self.source = source
        self.reason = reason


def load(config: type[C], toml_text: str | None, environ: Mapping[str, str], *, file: str = "the file") -> C:
    """The configuration, checked. `file` is how errors call the TOML text. Raises ConfigError."""
    values: dict[str, Any] = {}
    if toml_text is not None:
        if len(toml_text) > TOML_BYTES_MAX:
            raise ConfigError("", file, f"longer than {TOML_BYTES_MAX} bytes")
        try:
            values = tomllib.loads(toml_text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError("", file, f"not TOML: {error}") from error
        _check(config, values, "", file, strict=True)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            _set(config, values, name, environ[name])
    try:
        return msgspec.convert(values, config)
    except msgspec.ValidationError as error:
        raise ConfigError("", "configuration", str(error)) from error


def parse(config: type[C], key: str, text: str, source: str) -> object:
    """The value that `text` gives the key (`kv.tick_ms`), typed and checked by itself, as JSON and TOML have it.

    `source` is how errors call where it stood. Lists are separated by commas. Raises ConfigError.
    """
    value = _parse(config, key.split("."), text, source, ".".join, "a dot")
    return list(value) if isinstance(value, tuple) else value


def describe(config: type[msgspec.Struct]) -> str:
    """The documentation of a configuration as a TOML template: every key with its description and default."""
    return "\n".join(_describe(config, "")).strip() + "\n"


def _check(config: type[msgspec.Struct], values: dict[str, Any], prefix: str, source: str, *, strict: bool) -> None:
    """Names the first unknown key or bad value. Missing keys are judged later, when the environment had its say."""
    hints = _hints(config)
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in hints:
            raise ConfigError(path, source, f"unknown key; known here: {', '.join(sorted(hints))}")
        section = _section(hints[key])
        if section is not None and isinstance(value, dict):
            _check(section, value, f"{path}.", source, strict=strict)
        else:
            try:
                values[key] = msgspec.to_builtins(msgspec.convert(value, hints[key], strict=strict))
            except msgspec.ValidationError as error:
                raise ConfigError(path, source, str(error)) from error


def _set(config: type[msgspec.Struct], values: dict[str, Any], name: str, text: str) -> None:
    names = name[len(PREFIX) :].lower().split("__")
    declared = _hints(config).get(names[0])
    if name in RESERVED and (declared is None or _section(declared) is not None):
        return

    def shown(path: Sequence[str]) -> str:
        return f"{PREFIX}{'__'.join(path)}".upper()

    value = _parse(config, names, text, f"environment {name}", shown, "a double underscore")
    at = values
    for section in names[:-1]:
        at = at.setdefault(section, {})
    at[names[-1]] = value


def _parse(
    config: type[msgspec.Struct],
    names: Sequence[str],
    text: str,
    source: str,
    shown: Callable[[Sequence[str]], str],
    separator: str,
) -> object:
    """The value of the key at `names`; `shown` writes a path as the source does, whose names `separator` parts."""
    key = ".".join(names)
    kind: Any = config
    for depth, part in enumerate(names):
        section = _section(kind)
        hints = _hints(section) if section is not None else {}
        if part not in hints:
            known = ", ".join(shown([*names[:depth], hint]) for hint in sorted(hints))
            raise ConfigError(key, source, f"unknown key; known here: {known or 'nothing'}")
        kind = hints[part]
    if _section(kind) is not None:
        raise ConfigError(key, source, f"is a section; name a key of it behind {separator}")
    value: object = text
    if _is_list(kind):
        value = [item.strip() for item in text.split(",") if item.strip()]
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        choices = ", ".join(str(choice) for choice in get_args(_bare(kind))) if _is_choice(kind) else ""
        raise ConfigError(key, source, f"{error}; there are: {choices}" if choices else str(error)) from error


def _hints(config: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(config, include_extras=True)


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def _section(kind: Any) -> type[msgspec.Struct] | None:
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def _is_list(kind: Any) -> bool:
    return get_origin(_bare(kind)) in (list, tuple, set, frozenset)


def _is_choice(kind: Any) -> bool:
    return get_origin(_bare(kind)) is Literal


def _describe(config: type[msgspec.Struct], prefix: str) -> list[str]:
    hints = _hints(config)
    lines: list[str] = []
    sections: list[str] = []
    for field in msgspec.structs.fields(config):
        kind = hints[field.name]
        section = _section(kind)
        comments = [f"# {line}" for line in _description(kind).splitlines()]
        if section is not None:
            path = f"{prefix}{field.name}"
            sections += ["", *comments, f"[{path}]", *_describe(section, f"{path}.")]
            continue
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown = "# required" if default is msgspec.NODEFAULT else f"# default: {_toml(default)}"
        names = f"{prefix}{field.name}".replace(".", "__").upper()
        lines += [*comments, f"{shown}; environment: {PREFIX}{names}", f"# {field.name} = {_example(default)}", ""]
    return lines + sections


def _description(kind: Any) -> str:
    if get_origin(kind) is not Annotated:
        return ""
    notes = [extra.description for extra in get_args(kind)[1:] if isinstance(extra, msgspec.Meta)]
    return "\n".join(note for note in notes if note)


def _example(default: object) -> str:
    return '""' if default is msgspec.NODEFAULT else _toml(default)


def _toml(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
