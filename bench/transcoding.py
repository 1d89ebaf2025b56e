"""What a JSON request costs beyond its call: the mapping here against google.protobuf.json_format, then whole requests.

Run: .venv/bin/python bench/transcoding.py
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format

from cluster.http import Headers, Request
from cluster.pb.etcd.etcdserverpb import rpc_pb2
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeResponse, ResponseHeader, TxnRequest
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from cluster.rpc.in_process import InProcessCalls
from cluster.rpc.transcoding import Transcoder
from cluster.rpc.transcoding.decoding import JsonDecoder, parse_json
from cluster.rpc.transcoding.encoding import JsonEncoder

RANGE = RangeResponse(
    header=ResponseHeader(cluster_id=2**63, member_id=2**62, revision=12345, raft_term=7),
    kvs=[
        KeyValue(key=b"key/%d" % number, value=b"v" * 100, create_revision=5, mod_revision=number + 6, version=9)
        for number in range(10)
    ],
    count=10,
)
TXN = json.dumps(
    {
        "compare": [{"key": "YQ==", "target": "MOD", "mod_revision": "17", "result": "EQUAL"}],
        "success": [{"request_put": {"key": "YQ==", "value": "djEyMzQ1Njc4OTA=", "lease": "7587"}}],
        "failure": [{"request_range": {"key": "YQ=="}}],
    }
)
SECONDS = 0.5


def rate(work: Callable[[], object]) -> float:
    """Times a second."""
    best = 0.0
    for _ in range(3):
        done, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < SECONDS:
            for _ in range(50):
                work()
            done += 50
        best = max(best, done / taken)
    return best


def encoding() -> tuple[float, float]:
    encoder = JsonEncoder()

    def theirs() -> object:
        return json.dumps(json_format.MessageToDict(RANGE, preserving_proto_field_name=True), separators=(",", ":"))

    assert json.loads(encoder.encode(RANGE)) == json.loads(str(theirs()))
    return rate(lambda: encoder.encode(RANGE)), rate(theirs)


def decoding() -> tuple[float, float]:
    decoder = JsonDecoder()

    def ours() -> TxnRequest:
        message = TxnRequest()
        decoder.read(message, parse_json(TXN)[0])
        return message

    def theirs() -> TxnRequest:
        return json_format.ParseDict(json.loads(TXN), TxnRequest(), ignore_unknown_fields=True)

    assert ours() == theirs()
    return rate(ours), rate(theirs)


async def whole() -> float:
    async def answer(request: Any, context: Any) -> RangeResponse:
        return RANGE

    calls = InProcessCalls()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    calls.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("etcdserverpb.KV", {"Txn": handler}),))
    transcoder = Transcoder(rpc_pb2.DESCRIPTOR.services_by_name.values(), calls)
    request = Request("POST", "/v3/kv/txn", Headers((("host", "a"),)), TXN.encode(), "1.1", "127.0.0.1:9")
    best = 0.0
    for _ in range(3):
        done, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < SECONDS:
            for _ in range(50):
                await transcoder(request)
            done += 50
        best = max(best, done / taken)
    return best


if __name__ == "__main__":
    for name, (ours, theirs) in (("write a range of 10 pairs", encoding()), ("read a transaction", decoding())):
        print(f"{name:26} {ours:9,.0f}/s   json_format {theirs:9,.0f}/s   {ours / theirs:.1f}x")
    print(f"{'whole requests':26} {asyncio.run(whole()):9,.0f}/s")
