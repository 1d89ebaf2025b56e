"""The real doors answer as their interfaces say."""

from pathlib import Path

import pytest

from runtime.real import SystemRandomness, real_runtime


def test_all_doors(tmp_path: Path) -> None:
    runtime = real_runtime(str(tmp_path / "data"))
    assert runtime.clock.wall_s() > 1_700_000_000
    assert runtime.clock.monotonic_s() <= runtime.clock.monotonic_s()
    assert (tmp_path / "data").is_dir()


def test_randomness_keeps_its_ranges() -> None:
    source = SystemRandomness()
    assert {source.integer(3, 5) for _ in range(200)} == {3, 4}
    assert 0 <= source.random() < 1
    assert len(source.bytes(16)) == 16
    assert source.bytes(16) != source.bytes(16)
    with pytest.raises(ValueError):
        source.integer(3, 3)
