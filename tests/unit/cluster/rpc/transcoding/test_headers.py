import pytest

from cluster.http import Headers, Request
from cluster.rpc.transcoding.headers import HeaderError, header_fields, metadata_of, timeout_s_of


def request(*fields: tuple[str, str], peer: str = "") -> Request:
    return Request("POST", "/", Headers(fields), b"", "1.1", peer)


def test_which_fields_become_metadata_under_which_names() -> None:
    metadata = metadata_of(
        request(
            ("host", "kv:2379"),
            ("authorization", "token"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-trace-bin", "//4"),
            ("user-agent", "curl"),
            ("x-custom", "stays behind"),
            ("grpc-metadata-", "no name"),
            ("traceparent", "00-a-b-01"),
            ("x-forwarded-for", "10.0.0.1"),
            peer="[::1]:5000",
        )
    )
    assert set(metadata) == {
        ("authorization", "token"),
        ("grpcgateway-authorization", "token"),
        ("grpcgateway-host", "kv:2379"),
        ("grpcgateway-user-agent", "curl"),
        ("hasleader", "true"),
        ("trace-bin", b"\xff\xfe"),
        ("traceparent", "00-a-b-01"),
        ("x-forwarded-host", "kv:2379"),
        ("x-forwarded-for", "10.0.0.1, ::1"),
    }


def test_binary_metadata_must_be_base64() -> None:
    with pytest.raises(HeaderError, match="trace-bin"):
        metadata_of(request(("grpc-metadata-trace-bin", "!")))


def test_timeouts() -> None:
    assert timeout_s_of(request()) is None
    assert timeout_s_of(request(("grpc-timeout", "250m"))) == 0.25
    with pytest.raises(HeaderError, match="invalid grpc-timeout: soon"):
        timeout_s_of(request(("grpc-timeout", "soon")))


def test_initial_metadata_becomes_fields_that_cannot_split_a_response() -> None:
    assert header_fields([("a", "b"), ("c-bin", b"\xff"), ("d", "x\r\ny")]) == [
        ("grpc-metadata-a", "b"),
        ("grpc-metadata-c-bin", "/w"),
        ("grpc-metadata-d", "x%0D%0Ay"),
    ]
