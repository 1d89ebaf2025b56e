import pickle

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.grpc.status import CallFailed, code_of_number, decode_message, encode_message


@given(st.text())
def test_messages_survive_the_wire_as_printable_ascii(message: str) -> None:
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded) == message


@pytest.mark.parametrize(("value", "message"), [(b"%", "%"), (b"%4", "%4"), (b"%zz", "%zz"), (b"%ff", "�")])
def test_what_is_not_well_encoded_is_left(value: bytes, message: str) -> None:
    assert decode_message(value) == message


@pytest.mark.parametrize("value", [b"", b"x", b"17", b"-1"])
def test_unknown_numbers(value: bytes) -> None:
    assert code_of_number(value) is grpc.StatusCode.UNKNOWN


def test_failures_travel_between_processes() -> None:
    failed = CallFailed(
        grpc.StatusCode.ABORTED, grpc.aio.Metadata(), grpc.aio.Metadata(("a", "b")), "why", definite=True
    )
    copy = pickle.loads(pickle.dumps(failed))
    assert (copy.code(), copy.details()) == (grpc.StatusCode.ABORTED, "why")
