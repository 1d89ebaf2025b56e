from collections.abc import AsyncIterator

import pytest

from runtime.real import SystemClock, SystemRandomness
from services.kv.local_node import LocalNode


@pytest.fixture
async def node() -> AsyncIterator[LocalNode]:
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness()) as local:
        yield local
