"""The log's bound, in a process of its own: descriptors 1 and 2 are what it is about."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from orrery.log_file import LogFile
log = LogFile(sys.argv[1], bytes_max=1000)
for number in range(100):
    print(f"line {number:03}", file=sys.stderr, flush=True)
    os.write(1, b"x" * 20 + b"\\n")
    log.rotate_when_full()
"""


def test_two_files_hold_the_newest_lines_and_no_more_than_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, timeout=20)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.log", "node.log.1"]
    old, new = (tmp_path / "node.log.1").read_text(), path.read_text()
    assert 1000 < len(old) < 1100
    assert len(new) < 1100
    numbers = [int(line[5:]) for line in (old + new).splitlines() if line.startswith("line")]
    assert numbers == list(range(numbers[0], 100))
