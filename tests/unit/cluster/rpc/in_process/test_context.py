import grpc
import grpc.aio
import pytest

from cluster.rpc.in_process import InProcessContext, Requests


def context(*requests: object) -> InProcessContext:
    return InProcessContext("/a.B/C", (), peer="p", deadline_s=None, requests=Requests(requests), write=None)


async def test_it_reads_requests_to_their_end() -> None:
    call = context("a", "b")
    assert [await call.read() for _ in range(3)] == ["a", "b", grpc.aio.EOF]


async def test_only_methods_that_stream_write() -> None:
    with pytest.raises(grpc.aio.UsageError):
        await context().write("a")


async def test_initial_metadata_is_sent_once() -> None:
    call = context()
    await call.send_initial_metadata((("a", "b"),))
    assert call.initial_metadata == (("a", "b"),)
    with pytest.raises(grpc.aio.UsageError):
        await call.send_initial_metadata(())


async def test_done_callbacks_are_called_once_and_one_that_fails_stops_no_other() -> None:
    call = context()
    seen: list[bool] = []

    def fail(call: InProcessContext) -> None:
        raise RuntimeError

    call.add_done_callback(fail)
    call.add_done_callback(lambda call: seen.append(call.cancelled()))
    call.finish(cancelled=True)
    call.finish()
    assert seen == [True]
    call.add_done_callback(lambda call: seen.append(call.done()))
    assert seen == [True, True]


async def test_there_is_no_deadline_unless_one_was_given() -> None:
    assert context().time_remaining() is None
