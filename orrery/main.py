"""The `orrery` command. Only the chosen command's code is imported: help must be quick, and servers small."""

import argparse
import os
import sys
from collections.abc import Sequence

from orrery.btree.command import add_btree
from orrery.checkers.command import add_check
from orrery.lsm.command import add_lsm
from orrery.sim.command import add_sim

DATA_DIR = ".orrery"
"""Where a local cluster lives unless --data-dir or ORRERY_DATA_DIR says otherwise; under the current directory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return _run(command, options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(command: str, options: dict[str, object]) -> int:
    if command == "version":
        from cluster.telemetry.report import VERSION

        print(f"orrery {VERSION} (Python {sys.version.split()[0]})")
        return 0
    if command == "health":
        from orrery.health import default_admin, health

        return health(str(options["admin"] or default_admin()))
    if command == "serve":
        from orrery.serve import serve

        return serve(**options)  # type: ignore[arg-type]  # names and types are those of _parser
    if command == "make-key":
        from orrery.keys import make_key_command

        return make_key_command(str(options["file"]))
    if command == "btree":
        from orrery.btree.command import btree

        return btree(**options)  # type: ignore[arg-type]  # names and types are those of add_btree
    if command == "check":
        from orrery.checkers.command import check

        return check(**options)  # type: ignore[arg-type]  # names and types are those of add_check
    if command == "sim":
        from orrery.sim.command import sim

        return sim(**options)  # type: ignore[arg-type]  # names and types are those of add_sim
    if command == "lsm":
        from orrery.lsm.command import lsm

        return lsm(**options)  # type: ignore[arg-type]  # names and types are those of add_lsm
    from orrery import commands
    from orrery.errors import OperatorError
    from orrery.terminal import complain

    try:
        run = getattr(commands, command)
        return int(run(**options))
    except OperatorError as error:
        complain(str(error))
        return error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orrery",
        description="A whole cloud backend that you can read, run and break.",
        epilog="The cluster's directory is --data-dir, else $ORRERY_DATA_DIR, else .orrery here.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, *, cluster: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if cluster:
            command.add_argument(
                "--data-dir",
                metavar="DIR",
                default=os.environ.get("ORRERY_DATA_DIR") or DATA_DIR,
                help="the cluster's directory (default: $ORRERY_DATA_DIR or %(default)s)",
            )
        return command

    up = add("up", "start the cluster as local processes and wait until it is ready")
    up.add_argument("--services", metavar="A,B", help="which services (default: all)")
    up.add_argument("--port-base", metavar="N", type=int, help="the first port of the cluster (default: 23790)")
    up.add_argument("--detach", action="store_true", help="return when ready; the processes go on")
    up.add_argument("--profile", choices=("standard", "small"), help="small: one process of each service")
    up.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    up.add_argument("--insecure", action="store_true", help="let --host be reachable from other machines")
    up.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds to become ready (default: 60)")

    up.add_argument(
        "--set",
        metavar="SERVICE.KEY=VALUE",
        dest="settings",
        action="append",
        default=[],
        help="configure a service otherwise, as in kv.engine=lsm; it stays so for this cluster; may be repeated",
    )

    add("env", "print shell exports that real clients read")
    add("status", "one row a process").add_argument("--json", action="store_true", help="for scripts")
    add("down", "stop the cluster; its data stays")
    add("reset", "stop the cluster and wipe its data").add_argument("--yes", action="store_true", help="do not ask")

    logs = add("logs", "what the processes print")
    logs.add_argument("which", nargs="?", metavar="SERVICE|NODE", help="only these")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.add_argument("--lines", metavar="N", type=int, default=50, help="from each log's end (default: %(default)s)")
    logs.add_argument("--json", dest="raw", action="store_true", help="records as they are, on a terminal, too")

    add("doctor", "what is wrong with this machine").add_argument("--json", action="store_true", help="for scripts")

    for name, text in (
        ("stop", "stop one process"),
        ("start", "start one process again"),
        ("kill", "end one process as a crash would; it stays dead until started"),
    ):
        command = add(name, text)
        command.add_argument("node", metavar="NODE", help="such as kv-1")
        if name == "start":
            command.add_argument(
                "--wait", metavar="S", type=float, default=15.0, help="seconds to become ready (default: %(default)s)"
            )

    serve = add("serve", "run one process in the foreground: what a container runs", cluster=False)
    serve.add_argument("service", metavar="SERVICE")
    serve.add_argument("--config", metavar="FILE", help="its TOML file, below ORRERY_* (default: $ORRERY_CONFIG)")
    serve.add_argument("--node", help="overrides `node`")
    serve.add_argument("--data-dir", metavar="DIR", help="overrides `data_dir`")
    serve.add_argument("--log-file", metavar="FILE", help="append to a file that is kept within bounds")
    serve.add_argument("--insecure", action="store_true", help="let it listen where other machines can reach it")

    health = add("health", "exit 0 when a process is ready, for health checks", cluster=False)
    health.add_argument("--admin", metavar="HOST:PORT", help="its admin port (default: $ORRERY_ADMIN__LISTEN)")
    key = add("make-key", "make the key file of a cluster, unless it is there: what containers share", cluster=False)
    key.add_argument("file", metavar="FILE")
    add_btree(lambda name, text: add(name, text, cluster=False))
    add_check(lambda name, text: add(name, text, cluster=False))
    add_sim(lambda name, text: add(name, text, cluster=False))
    add_lsm(lambda name, text: add(name, text, cluster=False))
    add("version", "print the version", cluster=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
