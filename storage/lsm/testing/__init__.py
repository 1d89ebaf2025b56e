"""What helps tests of the engine: a model, and stories of random operations that are held against it."""

from storage.lsm.testing.model import Model
from storage.lsm.testing.story import ManualClock, Story, StoryOptions

__all__ = ["ManualClock", "Model", "Story", "StoryOptions"]
