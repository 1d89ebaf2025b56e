"""A seeded story of operations on an engine, held against the model at every step.

A crash may take what no `flush` or `sync` covered, but only from the end: the story keeps the model after each write
since the last one that is known to be durable, and whatever an engine holds when it is opened again must be one of
these. Every error but OSError ends the story as a failure.
"""

from dataclasses import dataclass

from runtime.disk import Disk
from runtime.randomness import Randomness
from storage.engine import Reader, Snapshot, WriteBatch
from storage.lsm.engine import LsmEngine
from storage.lsm.options import LsmOptions
from storage.lsm.testing.model import Model
from storage.merge_operators import Append

SNAPSHOTS_MAX = 3
SHOWN_MAX = 3
"""Of what differs."""


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return self.now_s

    def monotonic_s(self) -> float:
        """The same."""
        return self.now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryOptions:
    """What happens how often."""

    keys: int = 200
    """Different keys."""
    value_bytes: int = 60
    """Values are up to so long."""
    range_keys: int = 25
    """Ranges, to delete or to look at, are up to so long."""
    path: str = "data/lsm"
    keep_states: bool = True
    """Whether a copy of the model is kept for each write that is not durable yet: for stories with crashes."""
    weights: tuple[tuple[str, int], ...] = (
        ("put", 40),
        ("delete", 8),
        ("batch", 15),
        ("merge", 8),
        ("expiring", 4),
        ("delete_range", 3),
        ("get", 10),
        ("scan", 3),
        ("snapshot", 4),
        ("close_snapshot", 4),
        ("throttle", 10),
        ("flush", 2),
        ("sync", 2),
        ("time", 2),
        ("compact", 1),
        ("checkpoint", 1),
    )
    """Actions, and their shares."""


class DifferenceFound(AssertionError):
    """The engine does not hold what the model does."""


class Story:
    """One engine through its lives. `begin` opens it, `play` acts, `end` closes; after a crash `begin` again."""

    def __init__(self, disk: Disk, random: Randomness, engine_options: LsmOptions, options: StoryOptions) -> None:
        self.engine: LsmEngine | None = None
        self.clock = ManualClock()
        self.model = Model()
        self.steps = 0
        self._disk = disk
        self._random = random
        self._engine_options = engine_options
        self._options = options
        self._states: list[Model] = [self.model.copy()]
        self._snapshots: list[tuple[Snapshot, Model]] = []
        self._actions = [name for name, weight in options.weights for _ in range(weight)]
        self._checkpoints = 0
        self.checkpoint_sizes: list[int] = []
        """How many keys each checkpoint that was asked for should hold."""

    async def begin(self) -> None:
        """Opens the engine, and finds the state that it holds. Raises DifferenceFound."""
        self._snapshots.clear()
        self.engine = await self.open(self._options.path)
        found = dict(self.engine.scan())
        for state in reversed(self._states):
            if state.visible(self._now_ms) == found:
                self.model = state.copy()
                break
        else:
            newest = self._states[-1].visible(self._now_ms)
            raise DifferenceFound(
                f"none of {len(self._states)} states is what was found; to the newest: {_difference(newest, found)}"
            )
        # From here on what was found is what there is; what it lacks never happened.
        # (Without crashes, the one state that counts is the present one.)
        self._states = [self.model.copy() if self._options.keep_states else self.model]

    async def open(self, path: str) -> LsmEngine:
        """An engine as the story uses it."""
        return await LsmEngine.open(
            self._disk,
            path,
            clock=self.clock,
            random=self._random,
            options=self._engine_options,
            operator=Append(),
        )

    async def play(self, steps: int) -> None:
        """Takes random steps. Raises OSError when the disk fails, DifferenceFound."""
        for _ in range(steps):
            self.steps += 1
            await self.act(self._actions[self._random.integer(0, len(self._actions))])

    async def play_only(self, action: str, times: int) -> None:
        """The same action with random arguments, some times."""
        for _ in range(times):
            await self.act(action)

    async def end(self) -> None:
        """Closes the engine in order; without a log that may take what was not flushed."""
        assert self.engine is not None
        self._snapshots.clear()
        engine, self.engine = self.engine, None
        await engine.close()

    async def act(self, action: str) -> None:
        """One step."""
        engine = self.engine
        assert engine is not None
        model, now_ms = self.model, self._now_ms
        if action == "put":
            key, value = self._key(), self._value()
            model.put(key, value)
            self._written()
            engine.put(key, value)
        elif action == "delete":
            key = self._key()
            model.delete(key)
            self._written()
            engine.delete(key)
        elif action == "merge":
            key, value = self._key(), self._value()
            model.merge(key, value, now_ms)
            self._written()
            engine.merge(key, value)
        elif action == "expiring":
            key, value = self._key(), self._value()
            expires_ms = now_ms + self._random.integer(1, 20_000)
            model.put(key, value, expires_ms)
            self._written()
            engine.put_expiring(key, value, expires_ms)
        elif action == "delete_range":
            low, high = self._range()
            model.delete_range(low, high)
            self._written()
            engine.delete_range(low, high)
        elif action == "batch":
            self._batch(engine)
        elif action == "time":
            self.clock.now_s += self._random.integer(1, 5000) / 1000
        else:
            await self._look_or_wait(engine, action)

    async def _look_or_wait(self, engine: LsmEngine, action: str) -> None:
        model, now_ms = self.model, self._now_ms
        if action == "get":
            key = self._key()
            _same(model.get(key, now_ms), engine.get(key), f"get {key!r}")
            for snapshot, state in self._snapshots:
                _same(state.get(key, now_ms), snapshot.get(key), f"get {key!r} of a snapshot")
        elif action == "scan":
            self.check(*self._range())
        elif action == "snapshot":
            if len(self._snapshots) < SNAPSHOTS_MAX:
                self._snapshots.append((engine.snapshot(), model.copy()))
        elif action == "close_snapshot":
            if self._snapshots:
                self._snapshots.pop(self._random.integer(0, len(self._snapshots)))[0].close()
        elif action == "throttle":
            await engine.throttle()
        elif action == "flush":
            await engine.flush()
            self._durable()
        elif action == "sync":
            await engine.sync()
            self._durable()
        elif action == "compact":
            await engine.compact()
            self._durable()
        elif action == "checkpoint":
            await self._checkpoint(engine)
        else:
            raise ValueError(f"no action {action!r}")

    def check(self, low: bytes | None = None, high: bytes | None = None) -> None:
        """Scans engine and snapshots both ways. Raises DifferenceFound."""
        assert self.engine is not None
        readers: list[tuple[Reader, Model, str]] = [(self.engine, self.model, "the engine")]
        readers += [(snapshot, model, "a snapshot") for snapshot, model in self._snapshots]
        for reader, model, name in readers:
            visible = model.visible(self._now_ms)
            expected = [
                (key, visible[key])
                for key in sorted(visible)
                if (low is None or low <= key) and (high is None or key < high)
            ]
            _same(expected, list(reader.scan(low, high)), f"scan of {name}")
            _same(expected[::-1], list(reader.scan(low, high, reverse=True)), f"reverse scan of {name}")

    async def _checkpoint(self, engine: LsmEngine) -> None:
        self._checkpoints += 1
        path = f"data/checkpoint-{self._checkpoints}-{self._random.integer(0, 1 << 30)}"
        self.checkpoint_sizes.append(len(self.model.visible(self._now_ms)))
        await engine.checkpoint(path)
        copy = await self.open(path)
        try:
            _same(self.model.visible(self._now_ms), dict(copy.scan()), "scan of a checkpoint")
        finally:
            await copy.close()

    def _batch(self, engine: LsmEngine) -> None:
        batch = WriteBatch()
        plain = self._random.random() < 0.5
        for _ in range(self._random.integer(0, 20)):
            kind = self._random.integer(0, 2 if plain else 4)
            key, value = self._key(), self._value()
            if kind == 0:
                self.model.put(key, value)
                batch.put(key, value)
            elif kind == 1:
                self.model.delete(key)
                batch.delete(key)
            elif kind == 2:
                self.model.merge(key, value, self._now_ms)
                batch.merge(key, value)
            else:
                low, high = self._range()
                self.model.delete_range(low, high)
                batch.delete_range(low, high)
        self._written()
        engine.write(batch)

    def _written(self) -> None:
        """Remembers the state before the engine hears of the write: what fails half way may have happened."""
        if self._options.keep_states:
            self._states.append(self.model.copy())

    def _durable(self) -> None:
        self._states = [self.model.copy()] if self._options.keep_states else [self.model]

    @property
    def _now_ms(self) -> int:
        return int(self.clock.now_s * 1000)

    def _key(self) -> bytes:
        number = self._random.integer(0, self._options.keys)
        # Lengths vary, and some keys are the beginning of others.
        return b"%06d" % number if number % 3 else b"%06d/%d" % (number // 2, number)

    def _value(self) -> bytes:
        # Long enough that no two are the same: states that look alike must be alike.
        return self._random.bytes(self._random.integer(8, self._options.value_bytes + 1))

    def _range(self) -> tuple[bytes, bytes]:
        start = self._random.integer(0, self._options.keys)
        length = self._random.integer(-1, self._options.range_keys)
        return b"%06d" % start, b"%06d" % max(0, start + length)


def _same(expected: object, found: object, where: str) -> None:
    if expected != found:
        if isinstance(expected, list) and isinstance(found, list):
            expected, found = dict(expected), dict(found)
        if isinstance(expected, dict) and isinstance(found, dict):
            raise DifferenceFound(f"{where}: {_difference(expected, found)}")
        raise DifferenceFound(f"{where}: {expected!r} is expected, {found!r} found")


def _difference(expected: dict[bytes, bytes], found: dict[bytes, bytes]) -> str:
    lacks = {key: expected[key] for key in expected if key not in found}
    more = {key: found[key] for key in found if key not in expected}
    other = {key: (expected[key], found[key]) for key in expected if key in found and expected[key] != found[key]}
    kinds: dict[str, dict[bytes, object]] = {"lacks": {**lacks}, "has more": {**more}, "has other": {**other}}
    shown = (f"{name} {len(each)}, such as {list(each.items())[:SHOWN_MAX]}" for name, each in kinds.items() if each)
    return "; ".join(shown) or "the order differs"
