"""The copy: all records, what is asked of them often, and an index for each topic.

What it shows is a function of the records alone, the indexes too. So all processes that have read the same records,
one by one or all at once after a restart, show the same; a hypothesis test holds it to that. For that whoever removes
something leaves a note (`KeyKind.GONE_SERVICE`, `GONE_NODE`) or writes what it belonged to again; see
`services.registry.planning`.

Views are made when they are asked for, kept, and thrown away when something in them changes.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias, TypeVar

from runtime import Clock
from services.registry.catalogue.stored import CheckRecord, Key, KeyKind, Stored, Unreadable, Update
from services.registry.catalogue.topics import Progress, Topics
from services.registry.domain import Health, Instance, Node
from services.registry.interface import (
    Change,
    ChangeKind,
    Check,
    Endpoint,
    NodeView,
    Staleness,
    Topic,
    TopicKind,
)

STALE_S = 4.0
"""Seconds after which a silent kv counts as away. It is asked for progress each second, and a member that says nothing
for three is left for another."""

OwnerT = TypeVar("OwnerT", str, tuple[str, str])
Place: TypeAlias = tuple[str, str]
"""The node and the id of an instance or a check."""
_SERVICES = Topic(TopicKind.SERVICES)
_NODES = Topic(TopicKind.NODES)
_CHECKS = Topic(TopicKind.CHECKS)
_ALL = Topic(TopicKind.ALL)
_NO_PLACES: Sequence[Place] = ()


class MemoryCatalogue:
    """A `Catalogue`, filled by whoever follows kv: `services.registry.mirror`, or a test."""

    def __init__(self, clock: Clock, *, stale_s: float = STALE_S) -> None:
        self._clock = clock
        self._stale_s = stale_s
        self._heard_s = clock.monotonic_s()
        self._ready = False
        self.topics = Topics()
        self.progress = Progress()
        self._listeners: dict[object, Callable[[Sequence[Change]], None]] = {}
        self._clear()

    def _clear(self) -> None:
        self._records: dict[Key, Stored] = {}
        self._of_service: dict[str, list[Place]] = {}
        self._of_node: dict[str, list[Place]] = {}
        self._checks_of: dict[Place, list[Place]] = {}
        """Checks by what they belong to: `(node, instance id)`, `(node, "")` for those of the node."""
        self._names: dict[KeyKind, set[str]] = {KeyKind.NODE: set(), KeyKind.PROCESS: set()}
        self._counts = dict.fromkeys(KeyKind, 0)
        # Views, made when asked for.
        self._endpoint_views: dict[Place, Endpoint] = {}
        self._service_views: dict[str, tuple[Endpoint, ...]] = {}
        self._tag_views: dict[str, frozenset[str]] = {}
        self._services_view: dict[str, frozenset[str]] | None = None
        self._node_views: dict[str, NodeView] = {}
        self._nodes_view: tuple[NodeView, ...] | None = None
        self._check_views: dict[Place, Check] = {}
        self._checks_view: tuple[Check, ...] | None = None

    # ---- filling

    def heard(self) -> None:
        """kv was heard just now."""
        self._heard_s = self._clock.monotonic_s()

    def reset(self, updates: Iterable[Update], revision: int) -> None:
        """Takes this for all that there is at a revision, and tells the listeners that anything may have changed."""
        self._clear()
        self.topics.restart()
        for key, value, changed, lease in updates:
            if value is not None:
                self._records[key] = Stored(value, changed, lease)
        self._index_all()
        self._ready = True
        self.heard()
        self._tell([Change(ChangeKind.RESET, "", "", "", revision)])
        self.topics.wake()
        self.progress.advance(revision)

    def _index_all(self) -> None:
        """Everything that `_put` does for one record after another, at once: a small part of the time for many."""
        names, checks, nodes, newest = 0, 0, 0, 0
        """The newest revision of each topic that there is once."""
        by_service: dict[str, int] = {}
        by_node: dict[str, int] = {}
        at_node: dict[str, int] = {}
        """Of a node and its own checks: what is on it changed with them."""
        services: dict[Place, str] = {}
        flips: dict[Place, int] = {}
        """The newest revision of the checks of each instance."""
        for key, (value, revision, _) in self._records.items():
            kind, name, id_ = key
            self._counts[kind] += 1
            if kind in self._names:
                self._names[kind].add(name)
            if kind is KeyKind.BEAT or kind is KeyKind.PROCESS:
                continue
            newest = max(newest, revision)
            if kind is KeyKind.GONE_FLOOR:
                self.topics.raise_floor(revision)
                continue
            checks = max(checks, revision)
            if kind is KeyKind.GONE_SERVICE:
                names = max(names, revision)
                by_service[name] = max(by_service.get(name, 0), revision)
                continue
            by_node[name] = max(by_node.get(name, 0), revision)
            if kind is KeyKind.INSTANCE:
                names = max(names, revision)
                if isinstance(value, Instance):
                    place, service = (name, id_), value.service
                    services[place] = service
                    self._of_service.setdefault(service, []).append(place)
                    self._of_node.setdefault(name, []).append(place)
                    by_service[service] = max(by_service.get(service, 0), revision)
            elif kind is KeyKind.CHECK:
                if isinstance(value, CheckRecord):
                    owner = value.definition.instance_id
                    self._checks_of.setdefault((name, owner), []).append((name, id_))
                    if owner:
                        flips[name, owner] = max(flips.get((name, owner), 0), revision)
                    else:
                        nodes = max(nodes, revision)
                        at_node[name] = max(at_node.get(name, 0), revision)
            else:
                nodes = max(nodes, revision)
                if kind is KeyKind.NODE:
                    at_node[name] = max(at_node.get(name, 0), revision)
        for index in (self._of_service, self._of_node, self._checks_of):
            for places in index.values():
                places.sort()
        for place, service in services.items():
            revision = max(flips.get(place, 0), at_node.get(place[0], 0))
            if revision > by_service[service]:
                by_service[service] = revision
        for topic, revision in ((_ALL, newest), (_SERVICES, names), (_NODES, nodes), (_CHECKS, checks)):
            self.topics.raise_to(topic, revision)
        for service, revision in by_service.items():
            self.topics.raise_to(Topic(TopicKind.SERVICE, service), revision)
        for node, revision in by_node.items():
            self.topics.raise_to(Topic(TopicKind.NODE, node), revision)

    def apply(self, updates: Sequence[Update], revision: int) -> None:
        """Takes changes in the order of their revisions; all up to `revision` are in the copy then.

        Those that are in the copy already, since it was read anew, are left out.
        """
        self.heard()
        touched: set[Topic] = set()
        changes: list[Change] = []
        for update in updates:
            if update.revision > self.progress.revision:
                self._put(update, touched, changes)
        if changes:
            self._tell(changes)
        self.topics.wake(touched)
        self.progress.advance(revision)

    def _tell(self, changes: Sequence[Change]) -> None:
        for listener in tuple(self._listeners.values()):
            listener(changes)

    def _put(self, update: Update, touched: set[Topic], changes: list[Change]) -> None:
        key, value, revision, lease = update
        before = self._records.get(key)
        if value is None:
            if before is None:
                return
            del self._records[key]
        else:
            self._records[key] = Stored(value, revision, lease)
        self._counts[key.kind] += (value is not None) - (before is not None)
        old = None if before is None or isinstance(before.value, Unreadable) else before.value
        new = None if isinstance(value, Unreadable) else value
        kind = key.kind
        if kind in self._names:
            (self._names[kind].discard if value is None else self._names[kind].add)(key.name)
        if kind is KeyKind.BEAT:
            if (old is None) != (new is None):
                changes.append(Change(ChangeKind.BEAT, key.name, key.id, self._service_of_check(key), revision))
            return
        if kind is KeyKind.PROCESS:
            if (old is None) != (new is None):
                changes.append(Change(ChangeKind.PROCESS, key.name, "", "", revision))
            return
        topics: list[Topic] = [_ALL]
        if kind is KeyKind.INSTANCE:
            assert old is None or isinstance(old, Instance)
            assert new is None or isinstance(new, Instance)
            self._put_instance((key.name, key.id), old, new, revision, topics, changes)
        elif kind is KeyKind.CHECK:
            assert old is None or isinstance(old, CheckRecord)
            assert new is None or isinstance(new, CheckRecord)
            self._put_check((key.name, key.id), old, new, revision, topics, changes)
        elif kind is KeyKind.NODE:
            self._spoil_node(key.name, topics)
            topics += (_NODES, _CHECKS, Topic(TopicKind.NODE, key.name))
            changes.append(Change(ChangeKind.NODE, key.name, "", "", revision))
        elif kind is KeyKind.GONE_SERVICE:
            topics += (_SERVICES, _CHECKS, Topic(TopicKind.SERVICE, key.name))
        elif kind is KeyKind.GONE_NODE:
            self._spoil_node_view(key.name)
            topics += (_NODES, _CHECKS, Topic(TopicKind.NODE, key.name))
        else:
            self.topics.raise_floor(revision)
        for topic in topics:
            self.topics.raise_to(topic, revision)
        touched.update(topics)

    def _put_instance(
        self,
        place: Place,
        old: Instance | None,
        new: Instance | None,
        revision: int,
        topics: list[Topic],
        changes: list[Change],
    ) -> None:
        if old is not None and (new is None or new.service != old.service):
            _remove(self._of_service, old.service, place)
            self._spoil_service(old.service)
            topics.append(Topic(TopicKind.SERVICE, old.service))
            changes.append(Change(ChangeKind.INSTANCE, *place, old.service, revision))
        if new is not None:
            if old is None or old.service != new.service:
                insort(self._of_service.setdefault(new.service, []), place)
            self._spoil_service(new.service)
            topics.append(Topic(TopicKind.SERVICE, new.service))
            changes.append(Change(ChangeKind.INSTANCE, *place, new.service, revision))
        if (old is None) != (new is None):
            if new is None:
                _remove(self._of_node, place[0], place)
            else:
                insort(self._of_node.setdefault(place[0], []), place)
        self._endpoint_views.pop(place, None)
        self._spoil_node_view(place[0])
        self._services_view = None
        self._checks_view = None
        for check in self._checks_of.get(place, _NO_PLACES):
            self._check_views.pop(check, None)
        topics += (_SERVICES, _CHECKS, Topic(TopicKind.NODE, place[0]))

    def _put_check(
        self,
        place: Place,
        old: CheckRecord | None,
        new: CheckRecord | None,
        revision: int,
        topics: list[Topic],
        changes: list[Change],
    ) -> None:
        node = place[0]
        owners = dict.fromkeys(record.definition.instance_id for record in (old, new) if record is not None)
        old_owner = old.definition.instance_id if old is not None else None
        new_owner = new.definition.instance_id if new is not None else None
        if old_owner != new_owner:
            if old_owner is not None:
                _remove(self._checks_of, (node, old_owner), place)
            if new_owner is not None:
                insort(self._checks_of.setdefault((node, new_owner), []), place)
        self._check_views.pop(place, None)
        self._checks_view = None
        self._spoil_node_view(node)
        topics += (_CHECKS, Topic(TopicKind.NODE, node))
        for owner in owners:
            service = ""
            if owner:
                instance = self._instance((node, owner))
                service = instance.service if instance is not None else ""
                if service:
                    self._endpoint_views.pop((node, owner), None)
                    self._service_views.pop(service, None)
                    topics.append(Topic(TopicKind.SERVICE, service))
            else:
                self._spoil_node(node, topics)
                topics.append(_NODES)
            changes.append(Change(ChangeKind.CHECK, *place, service, revision))

    def _spoil_service(self, service: str) -> None:
        self._service_views.pop(service, None)
        self._tag_views.pop(service, None)

    def _spoil_node_view(self, node: str) -> None:
        self._node_views.pop(node, None)
        self._nodes_view = None

    def _spoil_node(self, node: str, topics: list[Topic]) -> None:
        """The node or its own checks changed, and with them all that is on it."""
        self._spoil_node_view(node)
        services: dict[str, None] = {}
        for place in self._of_node.get(node, _NO_PLACES):
            self._endpoint_views.pop(place, None)
            instance = self._instance(place)
            if instance is not None:
                services[instance.service] = None
        for service in services:
            self._service_views.pop(service, None)
            topics.append(Topic(TopicKind.SERVICE, service))

    # ---- Catalogue

    @property
    def is_ready(self) -> bool:
        """Whether it was ever filled."""
        return self._ready

    @property
    def staleness(self) -> Staleness:
        """Whether kv is away."""
        silent_s = self._clock.monotonic_s() - self._heard_s
        if self._ready and silent_s <= self._stale_s:
            return Staleness(False, 0)
        return Staleness(True, max(1, int(silent_s * 1000)))

    @property
    def revision(self) -> int:
        """All changes up to here are in the copy."""
        return self.progress.revision

    def index(self, topic: Topic) -> int:
        """The revision of the latest change of that; at least 1."""
        return self.topics.index(topic)

    async def wait(self, topic: Topic, index: int, within_s: float) -> bool:
        """Waits until the topic's index is above `index`; False when the time is over."""
        return await self.topics.wait(topic, index, within_s)

    def services(self) -> Mapping[str, AbstractSet[str]]:
        """The names of all services that have instances, and their tags."""
        view = self._services_view
        if view is None:
            view = self._services_view = {service: self._tags(service) for service in sorted(self._of_service)}
        return view

    def endpoints(self, service: str) -> Sequence[Endpoint]:
        """All instances of a service, ordered by node and id. O(1) when nothing has changed."""
        view = self._service_views.get(service)
        if view is None:
            places = self._of_service.get(service)
            if places is None:
                return ()
            view = self._service_views[service] = tuple(map(self._endpoint, places))
        return view

    def nodes(self) -> Sequence[NodeView]:
        """All nodes by name."""
        view = self._nodes_view
        if view is None:
            found = (self.node(name) for name in sorted(self._names[KeyKind.NODE]))
            view = self._nodes_view = tuple(node for node in found if node is not None)
        return view

    def node(self, name: str) -> NodeView | None:
        """One node."""
        stored = self._records.get(Key(KeyKind.NODE, name))
        if stored is None or not isinstance(stored.value, Node):
            return None
        view = self._node_views.get(name)
        if view is None:
            checks = self._checks((name, ""))
            instances = [self._endpoint(place).instance for place in self._of_node.get(name, _NO_PLACES)]
            index = self.index(Topic(TopicKind.NODE, name))
            view = self._node_views[name] = NodeView(stored.value, checks, tuple(instances), index)
        return view

    def instance(self, node: str, instance_id: str) -> Endpoint | None:
        """One instance."""
        place = (node, instance_id)
        return self._endpoint(place) if self._instance(place) is not None else None

    def checks(self) -> Sequence[Check]:
        """All checks, of instances and nodes, ordered by node and id."""
        view = self._checks_view
        if view is None:
            places = sorted(place for places in self._checks_of.values() for place in places)
            found = (self._check(place) for place in places)
            view = self._checks_view = tuple(check for check in found if check is not None)
        return view

    def check(self, node: str, check_id: str) -> Check | None:
        """One check."""
        return self._check((node, check_id))

    def is_beating(self, node: str, check_id: str) -> bool:
        """Of a TTL check: whether its time still runs."""
        return Key(KeyKind.BEAT, node, check_id) in self._records

    def processes(self) -> Sequence[str]:
        """The processes of the registry that live, by name."""
        return sorted(self._names[KeyKind.PROCESS])

    def subscribe(self, listener: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Tells `listener` of all changes, after they are in the copy; returns what ends it."""
        mark = object()
        self._listeners[mark] = listener

        def end() -> None:
            self._listeners.pop(mark, None)

        return end

    # ---- for those who write

    def stored(self, key: Key) -> Stored | None:
        """A record as it is kept."""
        return self._records.get(key)

    def count(self, kind: KeyKind) -> int:
        """How many records of a kind there are."""
        return self._counts[kind]

    def keys(self, kind: KeyKind) -> Sequence[Key]:
        """All keys of a kind. O(n) in all records."""
        return [key for key in self._records if key.kind is kind]

    def instances_on(self, node: str) -> Sequence[Instance]:
        """The instances on a node."""
        found = (self._instance(place) for place in self._of_node.get(node, _NO_PLACES))
        return [instance for instance in found if instance is not None]

    def check_keys_of(self, node: str, instance_id: str) -> Sequence[Key]:
        """The keys of the checks of an instance, or of a node's own."""
        return [Key(KeyKind.CHECK, *place) for place in self._checks_of.get((node, instance_id), _NO_PLACES)]

    def snapshot(self) -> Mapping[Key, Stored]:
        """All records."""
        return dict(self._records)

    # ---- inside

    def _instance(self, place: Place) -> Instance | None:
        stored = self._records.get(Key(KeyKind.INSTANCE, *place))
        return stored.value if stored is not None and isinstance(stored.value, Instance) else None

    def _service_of_check(self, key: Key) -> str:
        check = self._check((key.name, key.id))
        return check.service if check is not None else ""

    def _tags(self, service: str) -> frozenset[str]:
        tags = self._tag_views.get(service)
        if tags is None:
            places = self._of_service[service]
            tags = self._tag_views[service] = frozenset(
                tag for place in places for tag in self._endpoint(place).instance.tags
            )
        return tags

    def _check(self, place: Place) -> Check | None:
        check = self._check_views.get(place)
        if check is not None:
            return check
        stored = self._records.get(Key(KeyKind.CHECK, *place))
        if stored is None or not isinstance(stored.value, CheckRecord):
            return None
        record = stored.value
        service = ""
        if record.definition.instance_id:
            instance = self._instance((place[0], record.definition.instance_id))
            if instance is None:
                return None
            service = instance.service
        check = self._check_views[place] = Check(place[0], record.definition, record.state, service, stored.revision)
        return check

    def _checks(self, owner: Place) -> tuple[Check, ...]:
        found = (self._check(place) for place in self._checks_of.get(owner, _NO_PLACES))
        return tuple(check for check in found if check is not None)

    def _endpoint(self, place: Place) -> Endpoint:
        endpoint = self._endpoint_views.get(place)
        if endpoint is None:
            endpoint = self._endpoint_views[place] = self._make_endpoint(place)
        return endpoint

    def _make_endpoint(self, place: Place) -> Endpoint:
        stored = self._records[Key(KeyKind.INSTANCE, *place)]
        assert isinstance(stored.value, Instance)
        kept = self._records.get(Key(KeyKind.NODE, place[0]))
        node = kept.value if kept is not None and isinstance(kept.value, Node) else Node(place[0], "")
        checks = self._checks(place) + self._checks((place[0], ""))
        health, index = Health.PASSING, max(stored.revision, kept.revision if kept is not None else 0)
        for check in checks:
            index = max(index, check.index)
            if check.state.health.badness > health.badness:
                health = check.state.health
        return Endpoint(stored.value, node, checks, health, index)


def _remove(index: dict[OwnerT, list[Place]], owner: OwnerT, place: Place) -> None:
    """Takes a place out of a list; an empty list goes."""
    places = index[owner]
    del places[bisect_left(places, place)]
    if not places:
        del index[owner]
