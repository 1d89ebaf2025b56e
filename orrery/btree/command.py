"""`orrery btree`: looks into an engine's directory. Exit code 0: it is whole; 1: it is not; 2: it cannot be read."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.btree.verify import Report

DAMAGED, UNREADABLE = 1, 2
FAULTS_SHOWN = 20
"""On a terminal; --json has all."""


def add_btree(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declares the command. Imports no engine, since every `orrery` command comes by here."""
    actions = add("btree", "look into the files of a B+tree engine that nobody has open").add_subparsers(
        dest="action", metavar="verify|stats", required=True
    )
    for name, text in (
        ("verify", "read all of it: every page once, checksums, order, counts, free pages"),
        ("stats", "what it holds and how well its pages are filled"),
    ):
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        action.add_argument("path", metavar="PATH", help="the engine's directory")
        action.add_argument("--json", action="store_true", help="for scripts")


def btree(action: str, path: str, json: bool) -> int:
    """Runs one of the actions."""
    import asyncio
    from pathlib import Path

    from runtime.real import RealDisk
    from storage.btree.opening import FILE_NAME
    from storage.btree.verify import verify

    directory = Path(path).resolve()
    if not (directory / FILE_NAME).is_file():
        return _unreadable(path, f"there is no file {FILE_NAME!r} in it", as_json=json)

    async def look() -> "Report":
        return await verify(RealDisk(str(directory.parent)), directory.name, values=action == "verify")

    try:
        report = asyncio.run(look())
    except OSError as error:
        return _unreadable(path, error.strerror or str(error), as_json=json)
    if json:
        _tell_scripts({**asdict(report), "path": path, "whole": report.whole})
    else:
        _tell(report, path, action)
    return 0 if report.whole else DAMAGED


def _tell_scripts(answer: dict[str, object]) -> None:
    import json

    print(json.dumps(answer))


def _unreadable(path: str, problem: str, *, as_json: bool) -> int:
    if as_json:
        _tell_scripts({"path": path, "whole": False, "error": problem})
    else:
        print(f"orrery: {path}: {problem}", file=sys.stderr)
    return UNREADABLE


def _tell(report: "Report", path: str, action: str) -> None:
    if action == "stats" or report.whole:
        fill = report.leaf_bytes / (report.leaf_pages * report.page_bytes) if report.leaf_pages else 0.0
        print(f"{path}: commit {report.commit}, {report.entries:,} entries, {report.height + 1} levels")
        print(f"  keys {report.key_bytes:,} bytes, values {report.value_bytes:,} bytes")
        print(
            f"  {report.pages:,} pages of {report.page_bytes}: {report.leaf_pages:,} leaves ({fill:.0%} filled), "
            f"{report.branch_pages:,} branches, {report.large_pages:,} of large values, "
            f"{report.map_pages:,} of the map, {report.free_pages:,} free"
        )
        if report.operator:
            print(f"  merge operator {report.operator}")
    if report.whole:
        print("  whole" if action == "verify" else "  no damage seen; large values were not read")
        return
    print(f"{path}: {len(report.faults)} faults")
    for fault in report.faults[:FAULTS_SHOWN]:
        print(f"  offset {fault.offset}, page {fault.page}: {fault.what}")
    if len(report.faults) > FAULTS_SHOWN:
        print(f"  and {len(report.faults) - FAULTS_SHOWN} more")
