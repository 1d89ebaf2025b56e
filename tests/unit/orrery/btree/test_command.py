"""`orrery btree` on real files, whole and damaged."""

import asyncio
import json
from pathlib import Path

import pytest

from orrery.main import main
from runtime.real import RealDisk
from storage.btree import BTreeEngine


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    async def write() -> None:
        engine = await BTreeEngine.open(RealDisk(str(tmp_path)), "engine")
        for number in range(1000):
            engine.put(b"%05d" % number, b"x" * (10_000 if number == 500 else 50))
        await engine.flush()
        await engine.close()

    asyncio.run(write())
    return tmp_path / "engine"


def damage(directory: Path, offset: int) -> None:
    data = bytearray((directory / "pages").read_bytes())
    data[offset] ^= 1
    (directory / "pages").write_bytes(data)


def test_a_whole_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["btree", "verify", str(directory)]) == 0
    assert "1,000 entries" in capsys.readouterr().out
    assert main(["btree", "stats", str(directory), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["whole"]
    assert (told["entries"], told["large_pages"]) == (1000, 3)


def test_damage_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(directory, 5 * 4096 + 100)
    assert main(["btree", "verify", str(directory)]) == 1
    assert "offset 20480, page 5: " in capsys.readouterr().out
    assert main(["btree", "verify", str(directory), "--json"]) == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert (fault["page"], fault["offset"]) == (5, 20480)


def test_no_engine_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["btree", "verify", str(tmp_path)]) == 2
    assert "there is no file 'pages' in it" in capsys.readouterr().err
    assert main(["btree", "stats", str(tmp_path / "nowhere"), "--json"]) == 2
    assert not json.loads(capsys.readouterr().out)["whole"]
    assert not (tmp_path / "nowhere").exists()
