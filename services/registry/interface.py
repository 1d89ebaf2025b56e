"""The two doors between the heads (gRPC, Consul's HTTP, DNS, Prometheus), the checks, and the catalogue.

`Catalogue` is read without waiting: it is this process's copy of what kv keeps. `Registrar` writes to kv.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, Protocol

from services.registry.domain import CheckDefinition, CheckState, Health, Instance, Node


class RegistryError(Exception):
    """A refusal, with a sentence for the user."""


class Invalid(RegistryError):
    """The request is wrong, and stays wrong: it names the field."""


class NotFound(RegistryError):
    """There is no such thing."""


class Exists(RegistryError):
    """The id belongs to something else."""


class WrongKind(RegistryError):
    """The check takes no reports: it is none with a TTL."""


class Unavailable(RegistryError):
    """kv gave no answer. `definite`: nothing was written, and will not be."""

    def __init__(self, message: str, *, definite: bool) -> None:
        super().__init__(message)
        self.definite = definite


@dataclass(frozen=True, slots=True)
class Check:
    """A check and what it says."""

    node: str
    definition: CheckDefinition
    state: CheckState
    service: str
    """Empty: the check of a node."""
    index: int
    """Of its latest change."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An instance with its health."""

    instance: Instance
    node: Node
    checks: Sequence[Check]
    """Its own and its node's."""
    health: Health
    """The worst of them; passing without any."""
    index: int
    """Of the latest change in any of this."""

    @property
    def address(self) -> str:
        """Its own address, or its node's."""
        return self.instance.address or self.node.address


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node, its checks and its instances."""

    node: Node
    checks: Sequence[Check]
    """Of the node itself."""
    instances: Sequence[Instance]
    index: int


class TopicKind(StrEnum):
    """What can be waited for."""

    SERVICES = "services"
    """The names and their tags; not the health."""
    SERVICE = "service"
    """The endpoints of one service, with their health."""
    NODES = "nodes"
    NODE = "node"
    CHECKS = "checks"
    """Any check."""
    ALL = "all"


class Topic(NamedTuple):
    """What is waited for; `name` is that of the service or of the node."""

    kind: TopicKind
    name: str = ""


@dataclass(frozen=True, slots=True)
class Staleness:
    """How far the copy can be behind kv."""

    is_stale: bool
    behind_ms: int
    """Since kv was last heard; 0 when it is not stale."""


class ChangeKind(Enum):
    """What a change is about."""

    INSTANCE = "instance"
    CHECK = "check"
    """Its definition or its state."""
    NODE = "node"
    BEAT = "beat"
    """The time of a TTL check ran out, or runs again."""
    PROCESS = "process"
    """A process of the registry lives, or does not any more: `node` is its name."""
    RESET = "reset"
    """The copy was read anew: anything may have changed."""


class Change(NamedTuple):
    """One thing that was made, changed or removed. The catalogue tells what is now."""

    kind: ChangeKind
    node: str
    id: str
    """Of the instance or check; empty for a node."""
    service: str
    """Of the instance, or that the check belongs to; empty for a node and its checks."""
    revision: int
    """Of kv."""


class Catalogue(Protocol):
    """This process's copy. What it returns does not change afterwards."""

    @property
    def is_ready(self) -> bool:
        """Whether it was ever filled; before that nothing may be answered from it."""
        ...

    @property
    def staleness(self) -> Staleness:
        """Whether kv is away."""
        ...

    def index(self, topic: Topic) -> int:
        """The revision of the latest change of that; at least 1. It never falls, also when the thing is removed."""
        ...

    async def wait(self, topic: Topic, index: int, within_s: float) -> bool:
        """Waits until the topic's index is above `index`; False when the time is over."""
        ...

    def services(self) -> Mapping[str, AbstractSet[str]]:
        """The names of all services that have instances, and their tags."""
        ...

    def endpoints(self, service: str) -> Sequence[Endpoint]:
        """All instances of a service, whatever their health, ordered by node and id. O(1) when nothing has changed."""
        ...

    def nodes(self) -> Sequence[NodeView]:
        """All nodes by name."""
        ...

    def node(self, name: str) -> NodeView | None:
        """One node."""
        ...

    def instance(self, node: str, instance_id: str) -> Endpoint | None:
        """One instance."""
        ...

    def checks(self) -> Sequence[Check]:
        """All checks, of instances and nodes."""
        ...

    def check(self, node: str, check_id: str) -> Check | None:
        """One check."""
        ...

    def is_beating(self, node: str, check_id: str) -> bool:
        """Of a TTL check: whether its time still runs."""
        ...

    def processes(self) -> Sequence[str]:
        """The processes of the registry that live, by name; the same everywhere at the same index."""
        ...

    def subscribe(self, listener: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Tells `listener` of the changes of each revision, in order, after they are in the copy; returns what ends it.

        It is called on the loop, and must not wait.
        """
        ...


@dataclass(frozen=True, slots=True)
class Beat:
    """A report on a TTL check."""

    node: str
    check_id: str
    health: Health
    output: str = ""


class Registrar(Protocol):
    """Writes. All raise Unavailable; each returns the index of what it wrote, and returns only when this process's
    `Catalogue` has it, so that whoever wrote reads it here.
    """

    @property
    def shared_node(self) -> str:
        """The node of instances that name none. It never dies."""
        ...

    async def register(
        self,
        instance: Instance,
        checks: Sequence[CheckDefinition],
        *,
        node: Node | None = None,
        keep_other_checks: bool = False,
        take_over: bool = False,
    ) -> int:
        """Makes or changes an instance and its checks; checks that it had and that are not named go, unless kept.

        A check that stays as it was keeps its state. `node` is written along when it differs. Raises Invalid, and
        Exists when the id belongs to another service, unless `take_over`.
        """
        ...

    async def deregister(self, node: str, instance_id: str) -> int:
        """Takes an instance and its checks away. Raises NotFound."""
        ...

    async def register_node(self, node: Node) -> int:
        """Makes or changes a node. Raises Invalid."""
        ...

    async def deregister_node(self, name: str) -> int:
        """Takes a node with all that is on it away. Raises NotFound."""
        ...

    async def add_check(self, node: str, definition: CheckDefinition, state: CheckState | None = None) -> int:
        """Makes or changes a check of an instance, or of the node. Raises Invalid, and NotFound without its owner."""
        ...

    async def remove_check(self, node: str, check_id: str) -> int:
        """Takes a check away. Raises NotFound."""
        ...

    async def beat(self, beats: Sequence[Beat]) -> Sequence[RegistryError | None]:
        """Reports on TTL checks: renews their time, and writes where the health changes. One result for each."""
        ...

    async def set_state(self, check: Check, state: CheckState, *, unless_beating: bool = False) -> bool:
        """Writes what a check says, unless it has changed since it was read, or, if so asked, its time runs (False).

        A beat that changes nothing but the time leaves the check as it was read: the expiry of a TTL check has to ask.
        """
        ...
