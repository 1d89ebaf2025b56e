"""Values in files of their own."""

from pathlib import Path

import msgspec
import pytest

from orrery.value_files import BYTES_MAX, ValueFileError, with_files_read


class Section(msgspec.Struct, frozen=True):
    keys: tuple[str, ...] = ()
    keys_file: str = ""
    password: str = ""
    password_file: str = ""
    log_file: str = ""

    def __post_init__(self) -> None:
        if "bad" in self.keys:
            raise ValueError("a key is bad")


class Config(msgspec.Struct, frozen=True):
    section: Section = Section()


def config(**values: object) -> Config:
    return Config(Section(**values))  # type: ignore[arg-type]


def read(tmp_path: Path, data: bytes, key: str = "keys_file") -> Section:
    path = tmp_path / "file"
    path.write_bytes(data)
    made = with_files_read(config(**{key: str(path)}))
    assert isinstance(made, Config)
    return made.section


def test_a_list_is_a_line_each_and_a_text_is_stripped(tmp_path: Path) -> None:
    assert read(tmp_path, b"# two\n\n a \r\nb\n").keys == ("a", "b")
    assert read(tmp_path, b"secret\n", "password_file").password == "secret"


def test_what_names_no_file_is_left_as_it_is(tmp_path: Path) -> None:
    plain = config(keys=("a",), log_file="/nowhere/at/all")
    assert with_files_read(plain) is plain


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing is in"),
        (b"\n# only this\n", "nothing is in"),
        (b"\xff\xfe", "no text"),
        (b"a" * (BYTES_MAX + 1), "longer than"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ValueFileError, match=why) as caught:
        read(tmp_path, data)
    assert "section.keys_file" in str(caught.value)


def test_the_rest_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueFileError, match=r"section.keys_file: .*cannot be read: No such file"):
        with_files_read(config(keys_file=str(tmp_path / "nowhere")))
    with pytest.raises(ValueFileError, match=r"section.keys and section.keys_file are both given"):
        with_files_read(config(keys=("a",), keys_file="x"))
    with pytest.raises(ValueError, match="a key is bad"):
        read(tmp_path, b"bad\n")
