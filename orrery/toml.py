"""Writes TOML: what Python's own tomllib reads, it does not write."""

import json
from collections.abc import Mapping

Value = str | int | float | bool | list[str] | list[int]
Document = dict[str, "Value | Document"]


def to_toml(document: Mapping[str, "Value | Document"], path: str = "") -> str:
    """A document of scalars, lists of them, and tables of the same; keys are bare ones. Keys come before tables."""
    lines = [f"{key} = {_value(value)}\n" for key, value in document.items() if not isinstance(value, dict)]
    for key, table in document.items():
        if isinstance(table, dict):
            name = f"{path}.{key}" if path else key
            lines.append(f"\n[{name}]\n{to_toml(table, name)}")
    return "".join(lines)


def _value(value: Value) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped, and for JSON's escapes of pairs of
    # surrogates, which TOML refuses. JSON's numbers, lists and booleans are TOML's, too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
