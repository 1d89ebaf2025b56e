import subprocess
import sys

import pytest

from orrery.main import main


@pytest.mark.parametrize("command", ["--help", "version"])
def test_help_and_version_load_no_command(command: str) -> None:
    """Start-up must stay below 150 ms; what is loaded can be checked without a clock."""
    program = f"import sys\nfrom orrery.main import main\ntry: main([{command!r}])\nexcept SystemExit: pass\n"
    program += "print(sorted({name.split('.')[0] for name in sys.modules} & {'asyncio', 'grpc', 'json', 'msgspec'}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    loaded = set(eval(done.stdout.splitlines()[-1]))
    assert loaded <= (set() if command == "--help" else {"asyncio", "json", "msgspec"})


def test_every_command_of_the_contract_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = ["up", "env", "status", "down", "reset", "logs", "doctor", "serve", "stop", "start", "kill"]
    for command in [*commands, "sim run", "sim replay"]:
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--help"])
        assert ended.value.code == 0
        assert "--data-dir" in capsys.readouterr().out
