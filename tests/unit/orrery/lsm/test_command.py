"""`orrery lsm` on a real directory."""

import asyncio
import json
from pathlib import Path

import pytest

from orrery.main import main
from runtime.real import RealDisk, SystemClock, SystemRandomness
from storage.lsm.engine import LsmEngine
from storage.merge_operators import Append


@pytest.fixture(name="directory")
def an_engine(tmp_path: Path) -> str:
    async def fill() -> None:
        disk = RealDisk(str(tmp_path))
        engine = await LsmEngine.open(disk, "db", clock=SystemClock(), random=SystemRandomness(), operator=Append())
        for number in range(1000):
            engine.put(b"%04d" % number, b"v" * 50)
        await engine.flush()
        engine.merge(b"0001", b"more")
        engine.delete(b"0002")
        engine.put_expiring(b"0003", b"soon", 5)
        engine.delete_range(b"0100", b"0200")
        await engine.flush()
        await engine.close()
        disk.close()

    asyncio.run(fill())
    return str(tmp_path / "db")


def test_stats_and_dump_tell_what_there_is(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lsm", "stats", directory, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["tables"], stats["operator"], stats["levels"][0]["runs"]) == (2, "append", 2)
    assert main(["lsm", "dump", directory, "--json"]) == 0
    dump = json.loads(capsys.readouterr().out)
    newest = dump["tables"][0]
    assert (newest["entries"], newest["deletions"], newest["range_deletes"]) == (3, 2, 1)
    assert main(["lsm", "dump", directory, "--table", str(newest["number"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "range deleted: 0100 .. 0200",
        "0001 = operands more",
        "0002 = (deleted)",
        "0003 = (deleted)",
    ]
    for action in ("stats", "dump"):
        assert main(["lsm", action, directory]) == 0
        assert "level" in capsys.readouterr().out


def test_damage_is_named_and_repaired(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lsm", "verify", directory]) == 0
    assert "whole" in capsys.readouterr().out
    table = max(Path(directory).glob("*.table"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    data[5000] ^= 4
    table.write_bytes(data)
    assert main(["lsm", "verify", directory, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["whole"]
    assert table.name in report["damages"][0]["path"]
    assert main(["lsm", "repair", directory]) == 0
    assert f"rewritten: {table.name}" in capsys.readouterr().out
    assert main(["lsm", "verify", directory]) == 0
    assert main(["lsm", "repair", directory]) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_what_is_no_engine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        assert main(["lsm", "verify", str(path)]) == 2
        assert str(path) in capsys.readouterr().err
        assert main(["lsm", "stats", str(path), "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["error"]
