"""What helps tests of the engine: a model, and stories of random operations that are held against it."""

from storage.lsm.testing.model import Model
from storage.lsm.testing.story import DifferenceFound, ManualClock, Story, StoryOptions

__all__ = ["DifferenceFound", "ManualClock", "Model", "Story", "StoryOptions"]
