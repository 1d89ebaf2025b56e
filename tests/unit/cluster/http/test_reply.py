import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.http.reply import BadReply, Reply, ReplyLimits, ReplyParser

LIMITS = ReplyLimits(header_bytes_max=2_000, headers_max=10, interim_max=3, body_bytes_max=20)


def read(raw: bytes, *, method: str = "GET", step: int = 0, eof: bool = True) -> Reply | None:
    parser = ReplyParser(LIMITS, method=method)
    for at in range(0, len(raw), step or len(raw) or 1):
        parser.feed(raw[at : at + (step or len(raw))])
    if eof:
        parser.feed_eof()
    return parser.reply


STEPS = pytest.mark.parametrize("step", [0, 1, 3])


@STEPS
@pytest.mark.parametrize(
    ("raw", "status", "body", "is_cut"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", False),
        (b"HTTP/1.0 429 Slow\r\n\r\nslow down", 429, b"slow down", False),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://b\r\nContent-Length: 0\r\n\r\n", 301, b"", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 404 No\r\n\r\n", 404, b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50, 200, b"x" * 20, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok\x00garbage", 200, b"ok", False),
    ],
)
def test_replies(raw: bytes, status: int, body: bytes, is_cut: bool, step: int) -> None:
    reply = read(raw, step=step)
    assert reply is not None
    assert (reply.status, reply.body, reply.is_cut) == (status, body, is_cut)


def test_an_offer_to_upgrade_is_its_status() -> None:
    reply = read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    assert reply is not None
    assert reply.status == 101


def test_the_reply_to_head_has_no_body_whatever_its_length_says() -> None:
    reply = read(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", method="HEAD", eof=False)
    assert reply is not None
    assert reply.body == b""


def test_without_a_length_the_reply_ends_with_the_connection() -> None:
    assert read(b"HTTP/1.1 200 OK\r\n\r\nab", eof=False) is None


@STEPS
@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"", "without a reply"),
        (b"HTTP/1.1 200", "within the header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "within the body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "within the body"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed"),
        (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 11 + b"\r\n", "too many header"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 3_000 + b"\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 3_000, "too large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4, "interim"),
    ],
)
def test_what_is_no_whole_reply(raw: bytes, match: str, step: int) -> None:
    with pytest.raises(BadReply, match=match):
        read(raw, step=step)


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"A: " + b"x" * 500 + b"\r\n",
    ]
)


@given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=30)), max_size=30), st.sampled_from(["GET", "HEAD"]))
def test_nonsense_is_a_reply_or_a_bad_one_and_bounded(pieces: list[bytes], method: str) -> None:
    parser = ReplyParser(LIMITS, method=method)
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.feed_eof()
    except BadReply:
        assert parser.reply is None
    else:
        assert parser.reply is not None
        assert len(parser.reply.body) <= LIMITS.body_bytes_max
        assert len(parser.reply.headers) <= LIMITS.headers_max
