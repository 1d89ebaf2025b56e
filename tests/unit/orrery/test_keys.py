"""The key file: one key, made once, whole or not at all."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orrery.errors import OperatorError
from orrery.keys import KEY_BYTES, make_key
from orrery.main import main


def keys_in(path: Path) -> list[bytes]:
    return [base64.b64decode(line, validate=True) for line in path.read_text().splitlines() if line[0] != "#"]


def test_it_holds_one_key_that_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secrets" / "membership.keys"
    assert main(["make-key", str(path)]) == 0
    (key,) = keys_in(path)
    assert len(key) == KEY_BYTES
    assert main(["make-key", str(path)]) == 0
    assert keys_in(path) == [key]
    assert capsys.readouterr().out == f"{path} made\n{path} is there already\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["membership.keys"]


def test_of_many_at_once_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "membership.keys"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_key(path), range(8)))
    assert made.count(True) == 1
    assert len(keys_in(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["membership.keys"]


def test_where_it_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot be made"):
        make_key(tmp_path / "file" / "membership.keys")
    assert main(["make-key", str(tmp_path / "file" / "membership.keys")]) == 1
    assert "cannot be made" in capsys.readouterr().err
