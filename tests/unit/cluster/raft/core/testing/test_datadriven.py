import pytest

from cluster.raft.core.testing.datadriven import parse

TEXT = """# A comment
# of two lines.
command word key=value many=(1, 2,_) none=()
input one
input two
----
printed
more

other
----
"""


def test_parse() -> None:
    first, second = parse(TEXT)
    assert (first.line, first.command, first.words) == (3, "command", ("word",))
    assert first.arguments == {"key": ("value",), "many": ("1", "2", "_"), "none": ()}
    assert (first.input, first.expected) == ("input one\ninput two", "printed\nmore")
    assert first.source.startswith("# A comment")
    assert (second.command, second.expected) == ("other", "")


def test_a_command_without_a_separator_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1"):
        list(parse("command\ninput"))
