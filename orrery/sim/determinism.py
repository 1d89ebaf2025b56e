"""A seed is one run, in every process: plays seeds in two processes at once, and compares what they tell.

The processes differ in PYTHONHASHSEED, so that the order of every set of strings differs, and in all their addresses. A
trace hash covers every step, its time, and every byte that went onto a network or a disk.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

HASH_SEEDS = ("1", "4242")
ROOT = Path(__file__).parents[2]


def determinism(scenario: str, seeds: range) -> int:
    """Returns 0 when all seeds gave the same in both processes, else 1; names those that did not."""
    processes = [_play(scenario, seeds, hash_seed) for hash_seed in HASH_SEEDS]
    parted: list[int] = []
    told = 0
    try:
        one, other = (process.stdout or () for process in processes)
        for lines in itertools.zip_longest(one, other, fillvalue=""):
            if not all(lines):
                break
            told += 1
            answers = [json.loads(line) for line in lines]
            seed = int(answers[0]["seed"])
            same = lines[0] == lines[1]
            hashes = [str(answer["trace_hash"]) for answer in answers]
            print(f"seed {seed:<6} {'same' if same else 'PARTED':<7} {hashes[0]} {hashes[1]}", flush=True)
            if not same:
                parted.append(seed)
    finally:
        for process in processes:
            process.kill() if told < len(seeds) else process.wait()
    for seed in parted:
        print(f"seed {seed} is two runs: compare two of orrery sim replay {seed} --scenario {scenario} --steps")
    if told < len(seeds):
        print(f"after {told} of {len(seeds)} seeds a process ended")
    print(f"{scenario}: {told} seeds, each in two processes: {told - len(parted)} the same, {len(parted)} not")
    return 1 if parted or told < len(seeds) else 0


def _play(scenario: str, seeds: range, hash_seed: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "orrery.main", "sim", "run", "--scenario", scenario, "--json"]
    command += ["--seeds", f"{seeds[0]}..{seeds[-1]}"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
