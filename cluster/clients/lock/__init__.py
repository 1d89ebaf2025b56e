"""The client of the lock service.

    async with Locks(endpoints, clock=..., random=..., net=...) as locks:
        async with locks.hold("reports/nightly", wait_s=30) as grant:
            await kv.Txn(TxnRequest(compare=[grant.guard()], success=[...]))   # refused once the grant is lost

When a grant is lost, the block is cancelled and LockLost is raised from it.
"""

from cluster.clients.lock.client import Locks
from cluster.clients.lock.errors import LockError, LockLost, LockRefused, LockUnavailable, NotGranted
from cluster.clients.lock.grant import Grant

__all__ = ["Grant", "LockError", "LockLost", "LockRefused", "LockUnavailable", "Locks", "NotGranted"]
