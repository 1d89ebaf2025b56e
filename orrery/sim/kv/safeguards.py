"""What `--without` switches off, one at a time: the judges must find that out."""

import contextlib
import dataclasses
import functools
import unittest.mock
from collections.abc import Iterator

from cluster.raft.core import Safeguards
from cluster.raft.driver import HostOptions
from services.kv import main as kv_main

SAFEGUARDS = tuple(field.name for field in dataclasses.fields(Safeguards))


@contextlib.contextmanager
def lacking(without: str) -> Iterator[None]:
    """Boots members with one of Raft's safeguards off, if it is named, while the block runs."""
    safeguards = Safeguards(**{without: False}) if without else Safeguards()
    # Production has no way to switch one off, and shall have none.
    with unittest.mock.patch.object(kv_main, "HostOptions", functools.partial(HostOptions, safeguards=safeguards)):
        yield
