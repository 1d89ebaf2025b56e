"""`orrery serve tiny`: a service of nothing but an admin port, to test what stands around services."""

import sys

import msgspec

from cluster.telemetry import AdminServer, Check, Info, process_registry
from orrery.main import main
from orrery.services import SERVICES, ServiceSpec
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock


class Admin(msgspec.Struct, forbid_unknown_fields=True):
    listen: str = "127.0.0.1:0"


class Dns(msgspec.Struct, forbid_unknown_fields=True):
    listen: tuple[str, ...] = ()


class Secret(msgspec.Struct, forbid_unknown_fields=True):
    keys: tuple[str, ...] = ()
    keys_file: str = ""


class TinyConfig(msgspec.Struct, forbid_unknown_fields=True):
    node: str = "tiny-1"
    data_dir: str = ""
    admin: Admin = msgspec.field(default_factory=Admin)
    dns: Dns = msgspec.field(default_factory=Dns)
    secret: Secret = msgspec.field(default_factory=Secret)


async def serve(config: TinyConfig, stop: StopSignal) -> None:
    def info() -> Info:
        return Info("tiny", config.node, "", "")

    def ready() -> list[Check]:
        return [Check("up", ok=True)]

    server = AdminServer(StreamNet(), SystemClock(), config.admin.listen, process_registry(), info, ready)
    await server.start()
    print(f"admin at {server.address}", flush=True)
    await stop.wait()
    await server.stop()


SERVICES["tiny"] = ServiceSpec("tiny", "__main__", "__main__:TinyConfig", nodes=1, port_offset=0, protocols={})

if __name__ == "__main__":
    sys.exit(main())
