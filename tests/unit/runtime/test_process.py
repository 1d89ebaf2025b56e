"""Signals and exit codes, on real processes."""

import signal
import subprocess
import sys

import pytest

BODY = """
import asyncio, sys
from runtime.logs import configure_logs
from runtime.process import run_process
configure_logs("kv", "kv-1")
async def main(stop):
    print("up", flush=True)
{main}
sys.exit(run_process(main, {timeout}))
"""


def start(main: str, timeout: float = 20) -> "subprocess.Popen[str]":
    code = BODY.format(main=main, timeout=timeout)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly(number: signal.Signals) -> None:
    process = start("    await stop.wait()")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_an_error_ends_loudly() -> None:
    process = start("    raise ValueError('the story')")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 70
    assert "the story" in log
    assert '"node": "kv-1"' in log


def test_the_stop_is_bounded() -> None:
    process = start("    await asyncio.Event().wait()", timeout=0.05)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "did not stop in time" in log


def test_a_second_signal_ends_at_once() -> None:
    process = start("    await stop.wait()\n    print('stopping', flush=True)\n    await asyncio.Event().wait()", 1000)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
