"""Says in kv that this process lives, so that all know among whom the checks are shared out."""

import asyncio
import logging

from cluster.clients.kv import KvClient, KvError
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest, RequestOp, TxnRequest
from services.registry.catalogue import Key, KeyKind, ProcessRecord
from services.registry.records import encode_key, encode_value

RENEWALS_A_TTL = 3
"""Two in a row may fail."""
RETRY_S = 0.5

_log = logging.getLogger(__name__)


class ProcessKeeper:
    """`run` must run; `leave` afterwards lets the others know at once."""

    def __init__(self, kv: KvClient, name: str, record: ProcessRecord, *, ttl_s: int) -> None:
        self._kv = kv
        self._key = encode_key(Key(KeyKind.PROCESS, name))
        self._value = encode_value(record)
        self._ttl_s = ttl_s
        self._lease = 0

    async def run(self) -> None:
        """Keeps the record for ever, and makes it again when kv was away for longer than its lease."""
        while True:
            try:
                if not self._lease or await self._kv.renew_soon(self._lease) <= 0:
                    await self._make()
            except KvError as error:
                _log.warning("kv does not hear that this process lives", extra={"reason": error.message})
                await asyncio.sleep(RETRY_S)
                continue
            await asyncio.sleep(self._ttl_s / RENEWALS_A_TTL)

    async def leave(self) -> None:
        """Takes the record away. When kv does not answer it ends with its lease."""
        lease, self._lease = self._lease, 0
        if lease:
            try:
                await self._kv.revoke(lease)
            except KvError as error:
                _log.debug("the record of this process ends by itself", extra={"reason": error.message})

    async def _make(self) -> None:
        """A lease, and the record on it, whoever held it before: an earlier run of this process. Raises KvError."""
        self._lease = 0
        lease = (await self._kv.grant(self._ttl_s)).ID
        put = PutRequest(key=self._key, value=self._value, lease=lease)
        await self._kv.txn(TxnRequest(success=[RequestOp(request_put=put)]))
        self._lease = lease
