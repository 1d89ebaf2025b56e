"""Self-preservation: when very many checks seem to fail at once, the observer is the likelier culprit.

The idea is that of Netflix's Eureka, which stops evicting when renewals fall under a share of what is expected; but
there it lasts until somebody notices. Here it is an account of how many turns to critical are believed within a window:

- Up to `count_min` turns, or `share_max` of the checks that were well when the window began, whichever is more, are
  believed at once. So the death of one of two instances is believed, and that of a rack in a large cluster.
- Further ones are held back: the check goes on to say what it said. A check that recovers leaves the account, and makes
  room for the one that has been held back longest.
- Whatever has failed for the whole of `window_s` is believed: a real half of a cluster is dead, in the end.

Only what the registry finds out by itself is asked for here; what clients and operators say is always believed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much is believed at once."""

    share_max: float = 0.15
    count_min: int = 10
    window_s: float = 300.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share_max <= 1.0 or self.count_min < 1 or self.window_s <= 0.0:
            raise ValueError("an allowance needs a share of 0 to 1, a count of at least 1 and a window above 0")

    def turns_max(self, population: int) -> int:
        """Turns to critical that are believed within the window, among `population` checks that were well before."""
        return max(self.count_min, int(self.share_max * population))


class Account:
    """The failing checks of the window, by key: believed ones and held ones. Times are seconds of one clock."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._believed: dict[str, float] = {}
        """Since when, in that order."""
        self._held: dict[str, float] = {}

    @property
    def held(self) -> int:
        """How many are held back now."""
        return len(self._held)

    @property
    def believed(self) -> int:
        """How many turns of the window were believed, and still fail, as of the last call with a time."""
        return len(self._believed)

    def is_believed(self, key: str) -> bool:
        """Whether this one's turn was believed within the window, and it still fails."""
        return key in self._believed

    def held_keys(self) -> list[str]:
        """What is held back, those held longest first."""
        return list(self._held)

    def is_held(self, key: str) -> bool:
        """Whether this one is held back."""
        return key in self._held

    def may_turn(self, key: str, well: int, now_s: float) -> bool:
        """Whether a check that fails may be said to be critical. If not, it is held back from now on.

        `well`: checks that are not critical now and were not believed to be, this one included. Asking again for one
        that was believed is free.
        """
        self._forget(now_s)
        if key in self._believed:
            return True
        since_s = self._held.get(key)
        if since_s is not None and now_s - since_s >= self._allowance.window_s:
            del self._held[key]
            return True
        if self._room(well) <= 0 or (since_s is None and self._held and self._room(well) <= len(self._held)):
            self._held.setdefault(key, now_s)
            return False
        self._held.pop(key, None)
        self._believed[key] = now_s
        return True

    def recovered(self, key: str) -> bool:
        """The check is well, or gone, or somebody else's. Whether it was held back. O(1)."""
        self._believed.pop(key, None)
        return self._held.pop(key, None) is not None

    def settled(self, key: str) -> None:
        """It is critical already, by somebody's word: there is nothing to hold back any more."""
        self._held.pop(key, None)

    def ready(self, well: int, now_s: float, limit: int) -> list[str]:
        """The held ones for which `may_turn` would say yes now, those held longest first, at most `limit`."""
        self._forget(now_s)
        room = max(0, self._room(well))
        ready: list[str] = []
        for number, (key, since_s) in enumerate(self._held.items()):
            if len(ready) >= limit or (number >= room and now_s - since_s < self._allowance.window_s):
                break
            ready.append(key)
        return ready

    def _room(self, well: int) -> int:
        return self._allowance.turns_max(well + len(self._believed)) - len(self._believed)

    def _forget(self, now_s: float) -> None:
        # Times rise, so the oldest are in front.
        limit_s = now_s - self._allowance.window_s
        while self._believed:
            key = next(iter(self._believed))
            if self._believed[key] > limit_s:
                return
            del self._believed[key]
