import pytest

from orrery.sim.faults.testing import Play, play_with


@pytest.fixture(params=[3, 5])
def play(request: pytest.FixtureRequest) -> Play:
    """With three members and with five."""
    return play_with(request.param)
