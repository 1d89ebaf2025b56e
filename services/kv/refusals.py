"""How requests are refused: etcd's status codes and messages, which its clients match word for word.

Source: etcd's public error list (api/v3rpc/rpctypes/error.go of etcd 3.4 to 3.7).
"""

from dataclasses import dataclass

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not done. It is a value, so that applying a command can yield it as its result."""

    code: StatusCode
    message: str


class Refused(Exception):
    """Carries a refusal up to whoever answers the client."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


EMPTY_KEY = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPERATIONS = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT_OPTION = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: invalid sort option")
INVALID_CLIENT_API_VERSION = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: invalid client api version")
REQUEST_TOO_LARGE = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
COMPACTED = Refusal(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Refusal(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
LEASE_NOT_FOUND = Refusal(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = Refusal(StatusCode.OUT_OF_RANGE, "etcdserver: too large lease TTL")
TOO_MANY_REQUESTS = Refusal(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
NO_LEADER = Refusal(StatusCode.UNAVAILABLE, "etcdserver: no leader")
NOT_LEADER = Refusal(StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")
LEADER_CHANGED = Refusal(StatusCode.UNAVAILABLE, "etcdserver: leader changed")
TIMED_OUT = Refusal(StatusCode.UNAVAILABLE, "etcdserver: request timed out")
STOPPED = Refusal(StatusCode.UNAVAILABLE, "etcdserver: server stopped")
WATCH_CANCELED = Refusal(StatusCode.CANCELLED, "etcdserver: watch canceled")
TOO_MANY_WATCHERS = Refusal(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many watchers on one stream")
MALFORMED_COMMAND = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: malformed command")
ALARM_NOT_SUPPORTED = Refusal(
    StatusCode.UNIMPLEMENTED, "etcdserver: alarms clear and raise themselves here; they cannot be raised by hand"
)
INVALID_ALARM_ACTION = Refusal(StatusCode.INVALID_ARGUMENT, "etcdserver: unknown alarm action")
BAD_LEADER_TRANSFEREE = Refusal(StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
NOT_SUPPORTED = Refusal(StatusCode.UNIMPLEMENTED, "etcdserver: not supported by this server")
MEMBERSHIP_IS_CONFIGURED = Refusal(
    StatusCode.UNIMPLEMENTED, "etcdserver: the membership is that of the configuration; it cannot be changed by calls"
)
