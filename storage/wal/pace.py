"""Whether the log is written on the caller's thread or on another one.

A trip to a thread and back costs a fifth of a millisecond and more, a multiple of that where the event loop has other
work, since the two take the interpreter from each other; a sync of a good disk costs half of that. So as long as syncs
are short they are done on the spot. While one is done, everything else in the process waits. The bounds of that:

- the mean of the recent syncs is held below MEAN_S_MAX: else the log goes back to the thread for a while that doubles
  each time;
- one that took STALL_S or more sends it there at once, for STALL_PAUSE_S at the least, and twice as long each time: so
  a disk that stalls again and again holds the process up less and less often, and heartbeats go on during all the other
  stalls;
- from the thread it comes back only after TRIAL_SYNCS in a row that took less than TRIAL_S_MAX there.

Rejected: to measure once at the start. Disks are shared, and network volumes change their minds.
"""

MEAN_S_MAX = 0.003
"""Mean of recent syncs above which a thread is better."""
MEAN_WEIGHT = 1 / 16
"""Of the newest sync in that mean."""
CLIP_S = 2 * MEAN_S_MAX
"""A sync counts as this much at the most. Where processors are short, one sync in ten waits ten milliseconds for one
and not for the disk, which it would do on a thread, too."""
STALL_S = 0.05
"""A sync that long says that the disk stalls. Half of the time between two heartbeats."""
STALL_PAUSE_S = 2.0
PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 64.0
TRIAL_SYNCS = 8
TRIAL_S_MAX = 0.01
"""Of a sync on the thread, the trips there and back and the wait for a busy event loop included."""
BYTES_MAX = 128 << 10
"""A longer write goes to the thread in any case: copying it alone takes as long as a sync."""


class Pace:
    """Decides by what recent syncs took. Times come in as arguments."""

    def __init__(self) -> None:
        self.is_quick = False
        """Whether writes are to be done on the spot."""
        self.mean_s = 0.0
        """Of recent syncs that were done so."""
        self._trials = 0
        self._pause_s = PAUSE_S_MIN
        self._not_before_s = 0.0
        self._since_s = 0.0

    def took(self, seconds: float, now_s: float) -> None:
        """A sync on the spot took so long."""
        self.mean_s += (min(seconds, CLIP_S) - self.mean_s) * MEAN_WEIGHT
        stalled = seconds >= STALL_S
        if not stalled and self.mean_s <= MEAN_S_MAX:
            return
        if now_s - self._since_s > PAUSE_S_MAX:
            # It was quick for long: what was before says nothing of what comes.
            self._pause_s = PAUSE_S_MIN
        if stalled:
            self._pause_s = max(self._pause_s, STALL_PAUSE_S)
        self.is_quick = False
        self._trials = 0
        self._not_before_s = now_s + self._pause_s
        self._pause_s = min(PAUSE_S_MAX, 2 * self._pause_s)

    def took_away(self, seconds: float, now_s: float) -> None:
        """A sync on the thread took so long."""
        self._trials = self._trials + 1 if seconds < TRIAL_S_MAX else 0
        if self._trials >= TRIAL_SYNCS and now_s >= self._not_before_s and not self.is_quick:
            self.is_quick = True
            self.mean_s = MEAN_S_MAX / 2
            self._since_s = now_s
