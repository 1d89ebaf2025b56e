"""Frames there and back: split as they may come, and ended at once when something is wrong."""

import asyncio
from typing import cast

import pytest

from cluster.membership.driver.conversation import FRAME_BYTES_MAX, FRAMES_MAX, Conversation, RefusedConversation


class Recorder(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.end = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = self.end or "aborted"


class Talk:
    def __init__(self, *answers: bytes | None, first: bytes | None = None, within_s: float = 10.0) -> None:
        self.heard: list[bytes] = []
        self.ended = 0
        self._answers = list(answers)
        self.transport = Recorder()
        self.conversation = Conversation(self._answer, self._end, within_s, first)
        self.conversation.connection_made(self.transport)

    def _answer(self, frame: bytes) -> bytes | None:
        self.heard.append(frame)
        return self._answers.pop(0)

    def _end(self, _: Conversation) -> None:
        self.ended += 1

    def lose(self) -> None:
        self.conversation.connection_lost(None)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


async def test_frames_come_in_any_pieces() -> None:
    for size in (1, 2, 3, 100):
        talk = Talk(b"yes", None)
        data = framed(b"one") + framed(b"two")
        for at in range(0, len(data), size):
            talk.conversation.data_received(data[at : at + size])
        assert talk.heard == [b"one", b"two"]
        assert talk.transport.written == framed(b"yes")
        assert talk.transport.end == "closed", "the last word was heard"
        talk.lose()
        assert talk.ended == 1


async def test_who_begins_sends_first() -> None:
    talk = Talk(None, first=b"hello")
    assert talk.transport.written == framed(b"hello")
    talk.conversation.data_received(framed(b"bye") + framed(b"and more"))
    assert talk.heard == [b"bye"]
    assert talk.transport.end == "closed"
    assert not talk.conversation.eof_received()
    talk.lose()


async def test_a_giant_and_a_babbler_are_cut_off() -> None:
    talk = Talk()
    talk.conversation.data_received((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert talk.transport.end == "aborted"
    talk.lose()
    talk = Talk(*[b"x"] * FRAMES_MAX)
    talk.conversation.data_received(framed(b"again") * (FRAMES_MAX + 1))
    assert len(talk.heard) == FRAMES_MAX
    assert talk.transport.end == "aborted"
    talk.lose()


async def test_a_silent_one_is_cut_off_in_time() -> None:
    talk = Talk(within_s=0.01)
    while not talk.transport.end:
        await asyncio.sleep(0.005)
    assert talk.transport.end == "aborted"
    talk.lose()
    talk.conversation.abort()


async def test_an_error_of_the_answer_is_not_hidden() -> None:
    talk = Talk()
    with pytest.raises(IndexError):
        talk.conversation.data_received(framed(b"x"))
    talk.lose()


async def test_one_too_many_is_ended_at_once() -> None:
    transport = Recorder()
    RefusedConversation().connection_made(cast(asyncio.BaseTransport, transport))
    assert transport.end == "aborted"
