"""`orrery health`: is this process ready? For the health checks of containers, so it imports next to nothing."""

import os
import sys

from orrery.admin_client import Unreachable, get


def health(admin: str) -> int:
    """0 when `/readyz` of the admin port at `host:port` answers 200; otherwise says why, and 1."""
    host, _, port = admin.rpartition(":")
    if not host or not port.isdigit():
        print(f"orrery: {admin!r} is not of the form host:port", file=sys.stderr)
        return 2
    host = host.strip("[]")
    if host in ("0.0.0.0", "::"):  # noqa: S104 - what a container listens on is what its own check is told
        host = "127.0.0.1"
    try:
        status, body = get(host, int(port), "/readyz")
    except Unreachable as error:
        print(f"orrery: {admin}: {error}", file=sys.stderr)
        return 1
    print(body.decode(errors="replace"), end="")
    return 0 if status == 200 else 1


def default_admin() -> str:
    """Where the process of this container serves its admin port."""
    return os.environ.get("ORRERY_ADMIN__LISTEN", "127.0.0.1:2381")
