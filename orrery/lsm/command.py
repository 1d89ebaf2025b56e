"""`orrery lsm`: what the directory of an engine holds. Exit code 0 when all is well, 1 for damage, 2 for no engine."""

import argparse
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

DAMAGED = 1
NO_ENGINE = 2
ENTRIES_SHOWN = 20
"""Of a table, unless --limit says otherwise."""


def add_lsm(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declares the command. Imports no engine, since every `orrery` command comes by here."""
    actions = add("lsm", "look into the directory of an LSM engine").add_subparsers(
        dest="action", metavar="dump|verify|stats|repair", required=True
    )

    def action(name: str, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        parser.add_argument("path", metavar="PATH", help="the engine's directory")
        parser.add_argument("--json", action="store_true", help="one object, for scripts")
        return parser

    dump = action("dump", "list the tables by age, or the entries of one; changes nothing")
    dump.add_argument("--table", metavar="N", type=int, help="the entries of this one")
    dump.add_argument(
        "--limit", metavar="N", type=int, default=ENTRIES_SHOWN, help="so many entries (default: %(default)s)"
    )
    action("verify", "read every byte and name all damage: 0 whole, 1 damaged; changes nothing")
    action("stats", "levels, sizes, keys; changes nothing")
    action("repair", "make a damaged engine open again, without what is lost; nobody may have it open")


def lsm(action: str, path: str, json: bool, **options: int | None) -> int:
    """Runs an action and tells what came out."""
    import asyncio

    from orrery.lsm.actions import dump, dump_table, repair, stats, verify
    from runtime.real import RealDisk
    from storage.engine import Corruption

    place = Path(path).absolute()
    if not place.is_dir():
        return _refuse(path, "there is no such directory", as_json=json)
    disk = RealDisk(str(place.parent))

    def run(work: Coroutine[object, object, tuple[dict[str, object], list[str], bool]]) -> int:
        found, lines, whole = asyncio.run(work)
        if json:
            _print_json(found)
        else:
            print("\n".join(lines))
        return 0 if whole else DAMAGED

    try:
        if action == "dump" and options.get("table") is not None:
            return run(dump_table(disk, place.name, options["table"] or 0, options["limit"] or 0))
        return run({"dump": dump, "verify": verify, "stats": stats, "repair": repair}[action](disk, place.name))
    except Corruption as error:
        return _refuse(path, str(error), as_json=json)
    except OSError as error:
        return _refuse(path, error.strerror or str(error), as_json=json)
    finally:
        disk.close()


def _refuse(path: str, problem: str, *, as_json: bool) -> int:
    if as_json:
        _print_json({"path": path, "error": problem})
    else:
        print(f"orrery: {path}: {problem}", file=sys.stderr)
    return NO_ENGINE


def _print_json(found: dict[str, object]) -> None:
    import json

    print(json.dumps(found))
