import pytest

from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import RED, Every
from cluster.rpc.transcoding.decoding import DecodeError
from cluster.rpc.transcoding.fields import set_field


def test_values_go_to_where_the_path_leads() -> None:
    message = Every()
    assert set_field(message, ("nested", "nested", "int64_value"), ("7",))
    assert set_field(message, ("stringValue",), ("first", "last"))
    assert set_field(message, ("numbers",), ("1", "2"))
    assert set_field(message, ("colors",), ("RED", "2"))
    assert set_field(message, ("wrapped",), ("0",))
    assert set_field(message, ("at",), ("1970-01-01T00:00:09Z",))
    assert message.nested.nested.int64_value == 7
    assert message.string_value == "last"
    assert list(message.numbers) == [1, 2]
    assert list(message.colors) == [RED, 2]
    assert message.HasField("wrapped")
    assert message.at.seconds == 9


@pytest.mark.parametrize(
    "path", [("none",), ("nested",), ("string_value", "x"), ("children", "int32_value"), ("totals",), ("anything",), ()]
)
def test_there_is_no_such_field_for_text(path: tuple[str, ...]) -> None:
    message = Every()
    assert not set_field(message, path, ("1",))
    assert message == Every()


@pytest.mark.parametrize(
    ("path", "text"), [(("nested", "int32_value"), "x"), (("int32_value",), "3000000000"), (("at",), "soon")]
)
def test_what_does_not_fit_names_the_field(path: tuple[str, ...], text: str) -> None:
    with pytest.raises(DecodeError, match=r"^" + ".".join(path) + ": "):
        set_field(Every(), path, (text,))
