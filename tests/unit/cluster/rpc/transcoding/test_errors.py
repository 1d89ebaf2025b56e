import json

import grpc
import pytest

from cluster.http.writer import REASONS
from cluster.rpc.transcoding.errors import HTTP_STATUS, error_body, stream_error_line


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_code_has_a_status_with_a_reason(code: grpc.StatusCode) -> None:
    assert HTTP_STATUS[code] in REASONS
    assert json.loads(error_body(code, "why")) == {"error": "why", "message": "why", "code": code.value[0]}


def test_a_stream_ends_with_a_line() -> None:
    assert stream_error_line(grpc.StatusCode.UNAVAILABLE, "none") == (
        b'{"error":{"grpc_code":14,"http_code":503,"message":"none","http_status":"Service Unavailable","code":14}}\n'
    )
