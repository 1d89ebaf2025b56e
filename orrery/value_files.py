"""Values that stand in files of their own: secrets that are not to be seen where configurations are shown.

Where a configuration has `NAME_file` beside `NAME`, the former names the file of the latter. `orrery serve` reads it,
so that services see values alone, and touch no file that is not theirs.
"""

from pathlib import Path

import msgspec

BYTES_MAX = 64 * 1024
_SUFFIX = "_file"


class ValueFileError(ValueError):
    """A file that cannot be read or used; the text names the key and the file."""


def with_files_read(config: msgspec.Struct, prefix: str = "") -> msgspec.Struct:
    """The configuration with the values from its files. Raises ValueFileError, and ValueError for a bad value."""
    changes: dict[str, object] = {}
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, msgspec.Struct):
            read = with_files_read(value, f"{prefix}{field.name}.")
            if read is not value:
                changes[field.name] = read
        elif field.name.endswith(_SUFFIX) and isinstance(value, str) and value:
            target = field.name.removesuffix(_SUFFIX)
            before = getattr(config, target, None)
            if before is None:
                continue  # A file that the service itself looks after.
            if before:
                raise ValueFileError(f"{prefix}{target} and {prefix}{field.name} are both given")
            changes[target] = _read(f"{prefix}{field.name}", value, as_list=isinstance(before, tuple))
    return msgspec.structs.replace(config, **changes) if changes else config


def _read(key: str, name: str, *, as_list: bool) -> object:
    try:
        with Path(name).open("rb") as file:
            data = file.read(BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise ValueFileError(f"{key}: {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueFileError(f"{key}: {name} is no text in UTF-8") from error
    if len(data) > BYTES_MAX:
        raise ValueFileError(f"{key}: {name} is longer than {BYTES_MAX} bytes")
    lines = [line.strip() for line in text.splitlines()]
    values = tuple(line for line in lines if line and not line.startswith("#"))
    if not values:
        raise ValueFileError(f"{key}: nothing is in {name}")
    return values if as_list else "\n".join(values)
