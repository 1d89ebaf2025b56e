"""How many results of one kind in a row it takes before they count."""

from services.registry.domain import CheckDefinition, Health


class Streak:
    """Counts the results of one probed check. A warning is a success: something answered, and meant it."""

    __slots__ = ("_count", "_failing")

    def __init__(self) -> None:
        self._failing = False
        self._count = 0

    def add(self, definition: CheckDefinition, health: Health) -> bool:
        """Takes the next result; whether it counts, since enough of its kind came in a row. O(1)."""
        failing = health is Health.CRITICAL
        if failing is not self._failing:
            self._failing = failing
            self._count = 0
        self._count += 1
        needed = definition.failures_before_critical if failing else definition.successes_before_passing
        return self._count >= needed
