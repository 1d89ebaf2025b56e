"""A session's place in one queue, and the holds that share it.

`absent` → `waiting` → `granted`, and from each of them to `gone`. What is given up while other holds want the place
goes back to `absent`: what is taken then is another place, with another token.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from grpc import StatusCode

from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.lock.queue import Entry, granted
from services.lock.records import PlaceRecord, decode_place, encode_place
from services.lock.refusals import Refused
from services.lock.store import Look
from services.lock.view import LockView

State = Literal["absent", "waiting", "granted", "gone"]


@dataclass(eq=False, slots=True)
class Hold:
    """One acquisition."""

    id: int
    done: "asyncio.Future[None]"
    """Done when granted; fails with Refused when it never will be."""
    is_told: bool = False
    """Whether the client heard of the grant."""

    def fail(self, refused: Refused) -> None:
        """It will never be granted. Nobody may be waiting, and that is no error."""
        if not self.done.done():
            self.done.set_exception(refused)
            self.done.exception()


@dataclass(eq=False)
class Grip:
    """A place: a `Claim` of a view."""

    name: str
    key: bytes
    lease: int
    wanted: PlaceRecord | None
    """What its value says, but for the holds; None for a candidate, whose value is its own."""
    tell_gone: Callable[["Grip"], None]
    holds: dict[int, Hold] = field(default_factory=dict)
    state: State = "absent"
    create_revision: int = 0
    mod_revision: int = 0
    record: PlaceRecord | None = None
    """As kv has it."""
    value: bytes = b""
    oldest_token: int = 0
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever changes the key: one after another."""
    view: LockView | None = None
    """Where it is told of changes."""
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    """`watch`: joins the view, `limit`: takes the lock away."""

    @property
    def is_campaign(self) -> bool:
        """Whether it is a candidate of an election."""
        return self.wanted is None

    @property
    def is_granted(self) -> bool:
        """Whether it holds the lock."""
        return self.state == "granted"

    @property
    def mode(self) -> str:
        """For people and metrics."""
        return self.wanted.mode if self.wanted is not None else "campaign"

    def fits(self, wanted: PlaceRecord | None) -> bool:
        """Whether another hold of this kind can share the place."""
        if wanted is None or self.wanted is None:
            return wanted is self.wanted
        return (wanted.mode, wanted.limit, wanted.permits) == (
            self.wanted.mode,
            self.wanted.limit,
            self.wanted.permits,
        )

    def adopt(self, pair: KeyValue) -> None:
        """Takes over what kv has under the key. Raises Refused when another kind of client wrote it."""
        record = decode_place(pair.value)
        if (record is None) != self.is_campaign or (record is not None and not self.fits(record)):
            found = record.mode if record is not None else "an election or a lock of another client"
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                f"this session stands in that queue already, as {found}; it cannot stand there as {self.mode}, too",
            )
        self.record, self.value = record, pair.value
        self.create_revision, self.mod_revision = pair.create_revision, pair.mod_revision
        if self.state == "absent":
            self.state = "waiting"

    def live_holds(self) -> set[int]:
        """The holds that are written down, and that this stream knows.

        Others are what is left of requests whose end nobody saw: a stream says first what it goes on to want.
        """
        return set(self.record.holds) & self.holds.keys() if self.record is not None else set()

    def value_with(self, holds: Collection[int]) -> bytes:
        """The value with these holds."""
        record = self.record or self.wanted
        assert record is not None
        return encode_place(msgspec.structs.replace(record, holds=tuple(sorted(holds))))

    def judge(self, look: Look) -> None:
        """Takes the grant if the head of the queue shows it."""
        if self.state != "waiting":
            return
        oldest: Entry | None = None
        for entry in granted(look.entries):
            oldest = oldest or entry
            if entry.key == self.key and entry.create_revision == self.create_revision:
                self.on_granted(oldest)
                return

    def on_granted(self, oldest: Entry) -> None:
        """The place holds the lock."""
        if self.state != "waiting":
            return
        self.state = "granted"
        self.oldest_token = oldest.create_revision
        for hold in self.holds.values():
            if not hold.done.done():
                hold.done.set_result(None)

    def on_gone(self) -> None:
        """Somebody else removed the key."""
        self.view = None
        self.tell_gone(self)

    def follow(self, view: LockView) -> None:
        """Is told from now on."""
        if self.view is None and self.state in ("waiting", "granted"):
            self.view = view
            view.join(self, is_granted=self.state == "granted")

    def let_go(self) -> None:
        """Is told of nothing any more."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        if self.view is not None:
            self.view.leave(self)
            self.view = None

    def reset(self) -> None:
        """The place was given up, and another one shall be taken."""
        self.let_go()
        self.state, self.record, self.value = "absent", None, b""
        self.create_revision = self.mod_revision = self.oldest_token = 0

    def end(self) -> None:
        """The place is no more."""
        self.state = "gone"
        self.let_go()
