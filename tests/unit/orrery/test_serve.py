"""`orrery serve` as a process, around a service of nothing but an admin port."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.admin_client import get
from orrery.main import main

TINY = Path(__file__).with_name("serve_tiny.py")


def test_it_serves_by_its_file_and_options_and_stops_when_asked(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text('node = "from-the-file"\n[admin]\nlisten = "127.0.0.1:0"\n')
    command = [sys.executable, str(TINY), "serve", "tiny", "--config", str(config), "--node", "tiny-7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().removeprefix("admin at ").strip()
            host, port = address.rsplit(":", 1)
            assert get(host, int(port), "/readyz")[0] == 200
            assert json.loads(get(host, int(port), "/info")[1])["node"] == "tiny-7"
            assert main(["health", "--admin", address]) == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("toml", "options", "message"),
    [
        ('nodes = "x"', (), "nodes"),
        ('[admin]\nlisten = "0.0.0.0:0"', (), "admin.listen = '0.0.0.0:0' can be reached from other machines"),
        ('[dns]\nlisten = ["127.0.0.1:0", "[::]:0"]', (), "dns.listen = '[::]:0' can be reached from other machines"),
        ('[secret]\nkeys_file = "/nowhere/at/all"', (), "secret.keys_file: /nowhere/at/all cannot be read"),
        ("x = ", (), "not TOML"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, toml: str, options: tuple[str, ...], message: str) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(toml)
    command = [sys.executable, str(TINY), "serve", "tiny", "--config", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_unknown_service_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nope"]) == 2
    assert "there is no service 'nope'; there are: kv" in capsys.readouterr().err


def test_a_server_loads_nothing_of_the_other_commands() -> None:
    program = "import sys, orrery.serve; print([name for name in sys.modules if name.startswith('orrery')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    loaded = set(eval(done.stdout))
    assert loaded == {
        "orrery",
        "orrery.serve",
        "orrery.services",
        "orrery.log_file",
        "orrery.loopback",
        "orrery.value_files",
    }
