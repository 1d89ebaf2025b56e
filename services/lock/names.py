"""Names of locks, and the keys in kv that belong to them.

    <name>/<lease>              a hold of a lock, or a candidate of an election, as etcd's recipes write it
    <name>/<lease>-<hold>       a hold of a semaphore
    orrery/lock/sessions/<lease>
    orrery/lock/audit/<wall time>-<random>

where `<lease>` is the session's lease in hexadecimal without leading zeros, as Go prints it.
"""

import re
import unicodedata

from services.lock.limits import NAME_BYTES_MAX
from services.lock.refusals import invalid

OWN_PREFIX = "orrery/lock/"
SESSIONS = b"orrery/lock/sessions/"
AUDIT = b"orrery/lock/audit/"
_PLACE = re.compile(rb"(?s)(.+)/([0-9a-f]{1,16})(?:-([0-9a-f]{1,16}))?\Z")


def check_name(name: str) -> None:
    """Raises Refused for a name that cannot be used, and says why."""
    if not name:
        raise invalid("the name is empty")
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise invalid(f"the name is longer than {NAME_BYTES_MAX} bytes")
    for character in name:
        # Control, format, surrogate, private, unassigned: two names that look the same must be the same.
        if unicodedata.category(character)[0] == "C":
            raise invalid(f"the name contains U+{ord(character):04X}, which cannot be seen")
    if f"{name}/".startswith(OWN_PREFIX):
        raise invalid(f"names below {OWN_PREFIX} belong to the service")


def queue_prefix(name: str) -> bytes:
    """What all keys of a lock begin with."""
    return name.encode() + b"/"


def place_key(name: str, lease: int, hold_id: int = 0) -> bytes:
    """The key of a session's place; with `hold_id`, of one of its places in a semaphore's queue."""
    key = b"%b/%x" % (name.encode(), lease)
    return b"%b-%x" % (key, hold_id) if hold_id else key


def parse_place(key: bytes, lease: int) -> str | None:
    """The name of the lock whose place this key is, given the lease that it hangs on; None when it is none."""
    match = _PLACE.match(key)
    if match is None or lease == 0 or int(match[2], 16) != lease or match[2] != b"%x" % lease:
        return None
    try:
        return match[1].decode()
    except UnicodeDecodeError:
        return None


def session_key(lease: int) -> bytes:
    """Where a session's record is."""
    return SESSIONS + b"%x" % lease
