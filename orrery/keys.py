"""The key that the members of a cluster share: random, in a file that its owner alone reads."""

import base64
import os
import secrets
import sys
import tempfile
from pathlib import Path

from orrery.errors import OperatorError

KEY_BYTES = 32
_HEAD = """\
# The keys that the members of this cluster share, one a line in base64; the first one seals, all open.
# To change keys without a moment in which members do not hear each other: add the new one below and restart all nodes,
# one after another; put it first, restart; take the old one away, restart.
"""


def make_key(path: Path) -> bool:
    """Makes the file, with a new key, unless it is there; returns whether it did. Raises OperatorError.

    Of several that try at once, one makes it, and the others find it.
    """
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    try:
        if path.exists():
            return False
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Linked only when it is whole: half a key is none, and would stay.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{_HEAD}{key}\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        finally:
            Path(temporary).unlink()
    except OSError as error:
        raise OperatorError(f"the key file {path} cannot be made: {error.strerror}") from error
    return True


def make_key_command(name: str) -> int:
    """`orrery make-key`: 0 when the file is there, whoever made it."""
    try:
        made = make_key(Path(name))
    except OperatorError as error:
        print(f"orrery: {error}", file=sys.stderr)
        return error.code
    print(f"{name} made" if made else f"{name} is there already")
    return 0
