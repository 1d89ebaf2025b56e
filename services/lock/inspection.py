"""Looking at locks, and taking them from their holders."""

from grpc import StatusCode

from cluster.clients.kv import KvClient, KvError, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    ForcedRelease,
    ForceReleaseRequest,
    ForceReleaseResponse,
    InspectResponse,
    Listed,
    ListForcedReleasesRequest,
    ListForcedReleasesResponse,
    ListRequest,
    ListResponse,
    Place,
)
from runtime import Clock, Randomness
from services.lock import limits
from services.lock.checks import check_text
from services.lock.metrics import Counters
from services.lock.names import AUDIT, check_name, parse_place, queue_prefix
from services.lock.queue import Entry, granted, waits_for
from services.lock.records import AuditRecord, decode_audit, encode_audit, entry_of
from services.lock.refusals import Refused, invalid, of_kv

HOLDERS_FORCED_MAX = 32
"""Holders that one call takes a lock from: each is an operation and a record of one transaction."""


class Inspection:
    """What operators ask for."""

    def __init__(self, kv: KvClient, counters: Counters, clock: Clock, random: Randomness) -> None:
        self._kv = kv
        self._counters = counters
        self._clock = clock
        self._random = random

    async def inspect(self, name: str) -> InspectResponse:
        """The queue of a lock. Raises Refused."""
        check_name(name)
        entries = await self._queue(name)
        holders = {entry.key for entry in granted(entries)}
        response = InspectResponse()
        for entry in entries:
            response.queue.append(_place(entry, is_granted=entry.key in holders, waits=waits_for(entries, entry.key)))
        return response

    async def list_locks(self, request: ListRequest) -> ListResponse:
        """The locks whose names begin with a prefix, found by the form of their keys. Raises Refused."""
        limit = request.limit or 1000
        if limit > limits.LIST_PAGE_MAX:
            raise invalid(f"limit is {limit}; at most {limits.LIST_PAGE_MAX}")
        check_text("prefix", request.prefix, limits.NAME_BYTES_MAX)
        prefix = request.prefix.encode()
        start = request.page_token or prefix or b"\0"
        if not start.startswith(prefix) or len(start) > 4 * limits.NAME_BYTES_MAX:
            raise invalid("page_token is not one of this prefix")
        end = prefix_end(prefix) if prefix else b"\0"
        try:
            found = await self._kv.range(RangeRequest(key=start, range_end=end, limit=limit, keys_only=True))
        except KvError as error:
            raise of_kv(error) from error
        places: dict[str, int] = {}
        for pair in found.kvs:
            name = parse_place(pair.key, pair.lease)
            if name is not None and not pair.key.startswith(b"orrery/lock/"):
                places[name] = places.get(name, 0) + 1
        response = ListResponse(locks=[Listed(name=name, places=count) for name, count in places.items()])
        if found.more:
            response.next_page_token = found.kvs[-1].key + b"\0"
        return response

    async def force_release(self, request: ForceReleaseRequest) -> ForceReleaseResponse:
        """Removes the places of holders, and writes down who did it and why. Raises Refused."""
        check_name(request.name)
        check_text("who", request.who, limits.WHO_BYTES_MAX, needed=True)
        check_text("why", request.why, limits.WHY_BYTES_MAX, needed=True)
        holders = [
            entry for entry in granted(await self._queue(request.name)) if request.token in (0, entry.create_revision)
        ]
        if not holders:
            which = f"with token {request.token}" if request.token else "at all"
            raise Refused(StatusCode.NOT_FOUND, f"nobody holds {request.name!r} {which}")
        response = ForceReleaseResponse()
        # In one transaction per holder and its record: no holder disappears without one.
        for entry in holders[:HOLDERS_FORCED_MAX]:
            record = AuditRecord(
                name=request.name,
                token=entry.create_revision,
                session_id=entry.lease,
                owner=entry.owner,
                who=request.who,
                why=request.why,
                wall_ms=int(self._clock.wall_s() * 1000),
            )
            if await self._force(entry, record):
                self._counters.forced += 1
                response.released.append(_forced(record))
        await self._trim()
        return response

    async def records(self, request: ListForcedReleasesRequest) -> ListForcedReleasesResponse:
        """The newest records. Raises Refused."""
        limit = request.limit or 100
        if limit > limits.AUDIT_PAGE_MAX:
            raise invalid(f"limit is {limit}; at most {limits.AUDIT_PAGE_MAX}")
        if request.name:
            check_name(request.name)
        try:
            found = await self._kv.range(
                RangeRequest(
                    key=AUDIT,
                    range_end=prefix_end(AUDIT),
                    sort_order=RangeRequest.DESCEND,
                    sort_target=RangeRequest.KEY,
                    limit=0 if request.name else limit,
                )
            )
        except KvError as error:
            raise of_kv(error) from error
        response = ListForcedReleasesResponse()
        for pair in found.kvs:
            record = decode_audit(pair.value)
            if record is not None and request.name in ("", record.name) and len(response.records) < limit:
                response.records.append(_forced(record))
        return response

    async def _queue(self, name: str) -> list[Entry]:
        prefix = queue_prefix(name)
        try:
            found = await self._kv.range(
                RangeRequest(
                    key=prefix,
                    range_end=prefix_end(prefix),
                    sort_target=RangeRequest.CREATE,
                    sort_order=RangeRequest.ASCEND,
                    limit=limits.QUEUE_MAX,
                )
            )
        except KvError as error:
            raise of_kv(error) from error
        return [entry_of(pair) for pair in found.kvs]

    async def _force(self, entry: Entry, record: AuditRecord) -> bool:
        audit_key = AUDIT + b"%016x-%b" % (record.wall_ms, self._random.bytes(4).hex().encode())
        same = Compare(
            key=entry.key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=entry.create_revision
        )
        try:
            answer = await self._kv.txn(
                TxnRequest(
                    compare=[same],
                    success=[
                        RequestOp(request_delete_range=DeleteRangeRequest(key=entry.key)),
                        RequestOp(request_put=PutRequest(key=audit_key, value=encode_audit(record))),
                    ],
                    failure=[RequestOp(request_range=RangeRequest(key=audit_key))],
                )
            )
        except KvError as error:
            raise of_kv(error) from error
        # Its own record, when an attempt before this one was done.
        return answer.response.succeeded or bool(answer.response.responses[0].response_range.kvs)

    async def _trim(self) -> None:
        """Forgets the oldest records beyond the limit."""
        try:
            counted = await self._kv.range(RangeRequest(key=AUDIT, range_end=prefix_end(AUDIT), count_only=True))
            surplus = counted.count - limits.AUDIT_RECORDS_MAX
            if surplus <= 0:
                return
            oldest = await self._kv.range(
                RangeRequest(key=AUDIT, range_end=prefix_end(AUDIT), limit=surplus + 1, keys_only=True)
            )
            end = oldest.kvs[-1].key
            delete = DeleteRangeRequest(key=AUDIT, range_end=end)
            await self._kv.txn(TxnRequest(success=[RequestOp(request_delete_range=delete)]))
        except KvError as error:
            raise of_kv(error) from error


def _place(entry: Entry, *, is_granted: bool, waits: bytes | None) -> Place:
    return Place(
        key=entry.key,
        session_id=entry.lease,
        token=entry.create_revision,
        mode="foreign" if entry.foreign else entry.mode,
        granted=is_granted,
        waits_for=waits or b"",
        owner=entry.owner,
        holds=len(entry.holds),
        permits=entry.permits if entry.mode == "semaphore" else 0,
        limit=entry.limit if entry.mode == "semaphore" else 0,
    )


def _forced(record: AuditRecord) -> ForcedRelease:
    return ForcedRelease(
        name=record.name,
        token=record.token,
        session_id=record.session_id,
        owner=record.owner,
        who=record.who,
        why=record.why,
        wall_ms=record.wall_ms,
    )
