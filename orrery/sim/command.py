"""`orrery sim`: plays clusters in simulated worlds. Exit code 0 when every seed passes, 1 when one fails."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from orrery.sim.scenarios import SCENARIOS, setting

if TYPE_CHECKING:
    from orrery.sim.play import Play

SEEDS = range(1, 11)
"""Played when nothing is said."""
SEED_MAX = 2**63 - 1
TEXT_COLUMNS = 200
"""Width of a trace that does not go to a terminal."""
PICTURE = ".svg"
ASKED_WRONGLY = 2


def add_sim(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declares the command. Imports no simulator, since every `orrery` command comes by here."""
    actions = add("sim", "play clusters in simulated worlds, each from a seed").add_subparsers(
        dest="action", metavar="run|replay|determinism|safeguards", required=True
    )

    def action(name: str, text: str, *, lacking: bool = True) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog="Scenarios: " + "; ".join(f"{key}: {what}" for key, what in SCENARIOS.items()) + ".",
        )
        parser.add_argument("--scenario", choices=SCENARIOS, default="kv", help="what is played (default: %(default)s)")
        if lacking:
            parser.add_argument("--without", metavar="SAFEGUARD", default="", help="boot members that lack it")
        parser.add_argument("--data-dir", metavar="DIR", help="taken as by every command; nothing is kept there")
        return parser

    run = action("run", "play seeds, and judge what each came to")
    seeds = run.add_mutually_exclusive_group()
    seeds.add_argument("--seed", metavar="N", type=_seed, help="one seed")
    seeds.add_argument(
        "--seeds", metavar="A..B", type=_seeds, help=f"from A to B, both played (default: {SEEDS[0]}..{SEEDS[-1]})"
    )
    run.add_argument(
        "--minutes",
        metavar="M",
        type=_minutes,
        help="of real time, after which no further seed is begun; with no seeds said, from 1 on",
    )
    run.add_argument("--json", action="store_true", help="an object a seed, a line each, for scripts")
    run.add_argument(
        "--histories", metavar="DIR", help="write what clients saw into new files there, before it is judged"
    )

    replay = action("replay", "play a seed again, and show its trace: a column a host")
    replay.add_argument("seed", metavar="SEED", type=_seed)
    replay.add_argument("--host", metavar="H", action="append", default=[], help="only this one; may be said again")
    replay.add_argument("--out", metavar="FILE", help="write there; a name in .svg gets a Lamport diagram")
    replay.add_argument("--steps", action="store_true", help="a line a step of the loop: compare two runs by diff")

    twice = action("determinism", "play seeds in two processes at once, and compare what they come to", lacking=False)
    twice.add_argument("--seeds", metavar="A..B", type=_seeds, default=range(1, 51), help="default: 1..50")

    proofs = actions.add_parser(
        "safeguards",
        help="take one safeguard after another away, and hunt the seed that shows it",
        description="Take one safeguard after another away, and hunt the seed that shows it.",
    )
    proofs.add_argument("--seeds", metavar="A..B", type=_seeds, default=range(1, 201), help="default: 1..200")
    proofs.add_argument("--without", metavar="SAFEGUARD", default="", help="only this one")


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed <= SEED_MAX:
        raise argparse.ArgumentTypeError(f"a seed is from 0 to {SEED_MAX}")
    return seed


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    try:
        seeds = range(_seed(first), _seed(last if dots else first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"there is no seed in {text}")
    return seeds


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError("there are no such minutes")
    return minutes


def sim(
    action: str,
    scenario: str = "kv",
    without: str = "",
    data_dir: str | None = None,
    seed: int | None = None,
    seeds: range | None = None,
    minutes: float | None = None,
    json: bool = False,
    host: list[str] | None = None,
    out: str | None = None,
    steps: bool = False,
    histories: str | None = None,
) -> int:
    """Plays. A simulated cluster keeps nothing, so `data_dir` is not looked at."""
    import logging
    from pathlib import Path

    from orrery.sim.proofs import PROOFS
    from orrery.terminal import complain

    known = setting(scenario).safeguards if action != "safeguards" else [proof.safeguard for proof in PROOFS]
    if without and without not in known:
        where = scenario if action != "safeguards" else "the simulator"
        complain(f"{where} has no safeguard {without}; there are {', '.join(dict.fromkeys(known))}")
        return ASKED_WRONGLY
    # What members log is no part of the answer, and its handlers' locks and clocks no part of the run.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        if action == "replay":
            assert seed is not None
            return _replay(scenario, without, seed, host or [], out, steps=steps)
        if action == "determinism":
            from orrery.sim.determinism import determinism

            return determinism(scenario, seeds or SEEDS)
        if action == "safeguards":
            from orrery.sim.safeguards import safeguards as prove

            return prove([proof for proof in PROOFS if without in ("", proof.safeguard)], seeds or SEEDS)
        from orrery.sim.hunt import hunt

        chosen = range(seed, seed + 1) if seed is not None else seeds
        if chosen is None:
            chosen = SEEDS if minutes is None else range(1, SEED_MAX)
        try:
            return hunt(
                scenario,
                chosen,
                without=without,
                minutes=minutes,
                as_json=json,
                histories_dir=None if histories is None else Path(histories),
            )
        except OSError as error:
            if error.filename is None:
                raise
            complain(f"{error.filename}: {error.strerror}")
            return ASKED_WRONGLY
    finally:
        logging.disable(before)


def _replay(scenario: str, without: str, seed: int, only: list[str], out: str | None, *, steps: bool) -> int:
    from orrery.sim.columns import hosts_of
    from orrery.sim.hunt import tell
    from orrery.sim.play import play
    from orrery.terminal import complain

    if steps and (only or (out or "").endswith(PICTURE)):
        complain("--steps are lines of all hosts: no --host, and no picture")
        return ASKED_WRONGLY
    played = play(scenario, seed, without=without, record=True)
    hosts = hosts_of(played.log)
    if strangers := [host for host in only if host not in hosts]:
        complain(f"there is no host {strangers[0]}; there are {', '.join(hosts)}")
        return ASKED_WRONGLY
    if out is None:
        _print(played, only, steps=steps)
    else:
        try:
            _write(played, only, out, steps=steps)
        except OSError as error:
            complain(f"{out}: {error.strerror or error}")
            return ASKED_WRONGLY
        print(f"written to {out}")
    tell(played)
    return 0 if played.passed else 1


def _lines(played: "Play", only: list[str], width: int, *, steps: bool) -> Iterable[str]:
    from orrery.sim.columns import columns

    return played.outcome.recorded if steps else columns(played.log, width=width, only=only)


def _print(played: "Play", only: list[str], *, steps: bool) -> None:
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else TEXT_COLUMNS
    for line in _lines(played, only, width, steps=steps):
        print(line)


def _write(played: "Play", only: list[str], out: str, *, steps: bool) -> None:
    from pathlib import Path

    from orrery.sim.lamport import diagram

    if out.endswith(PICTURE):
        text = diagram(played.log, only=only)
    else:
        text = "".join(line + "\n" for line in _lines(played, only, TEXT_COLUMNS, steps=steps))
    Path(out).write_text(text, encoding="utf-8")
