"""A process finds by the registry what its configuration does not name, and the registry by the membership.

Method: beside a whole cluster a lock process is started that is told of one kv member only. That one is killed by its
id; the lock process goes on with those that it found.
"""

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conformance.clusters import ORRERY, OrreryCluster, free_port_base, missing_for_orrery, wait_for

READY_SECONDS_MAX = 30.0
FOUND_SECONDS_MAX = 15.0
STOP_SECONDS_MAX = 20.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    made = OrreryCluster(tmp_path / "orrery", services="lock,registry")
    yield made
    made.close()


def get(url: str) -> str:
    """What is answered, whatever the status; empty when nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def test_a_kv_member_that_was_not_configured_is_found(cluster: OrreryCluster, tmp_path: Path) -> None:
    base = free_port_base()
    config = (tmp_path / "orrery" / "config" / "lock-1.toml").read_text()
    lines = {
        r"^node = .*": 'node = "lock-9"',
        r"^kv = .*": f'kv = ["{cluster.client_addresses[0]}"]',
        r'(?s)(\[admin\]\nlisten = )"[^"]*"': rf'\1"127.0.0.1:{base + 2}"',
        r'(?s)(\[lock\]\nlisten = )"[^"]*"': rf'\1"127.0.0.1:{base}"',
        r"^advertise = .*": f'advertise = "127.0.0.1:{base}"',
        r'(?s)(\[membership\]\nlisten = )"[^"]*"': rf'\1"127.0.0.1:{base + 3}"',
    }
    for pattern, line in lines.items():
        config, count = re.subn(pattern, line, config, flags=re.MULTILINE)
        assert count == 1, pattern
    file = tmp_path / "lock-9.toml"
    file.write_text(config)
    admin = f"http://127.0.0.1:{base + 2}"
    with (tmp_path / "lock-9.log").open("wb") as log:
        process = subprocess.Popen([str(ORRERY), "serve", "lock", "--config", str(file)], stdout=log, stderr=log)
    try:
        wait_for("it is ready", lambda: get(f"{admin}/readyz").endswith("\nready\n"), READY_SECONDS_MAX)
        consul = cluster.status()[-1]["endpoints"]["consul"]
        known = partial(get, f"{consul}/v1/catalog/service/lock")
        wait_for("it is registered", lambda: '"lock-9"' in known(), FOUND_SECONDS_MAX)
        cluster.kill_processes("kv-1")
        # Asked once a second, it would have noticed by now that nobody answers.
        wait_for("kv-1 is declared dead", lambda: '"kv-1"' not in get(f"{admin}/info"), READY_SECONDS_MAX)
        assert get(f"{admin}/readyz").endswith("\nready\n")
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        finally:
            process.kill()
    wait_for("it is gone", lambda: '"lock-9"' not in known(), FOUND_SECONDS_MAX)
