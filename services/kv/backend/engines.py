"""The engines on a disk that kv can run on, by the name that the configuration gives them."""

from functools import partial
from typing import Literal

from runtime import Runtime
from services.kv.backend.home import EngineHome, OpenEngine
from storage.engine import DurableEngine

StoredEngineName = Literal["lsm", "btree"]
DIRECTORY = "state"
"""Of the engine, within the data directory."""


async def open_home(name: StoredEngineName, runtime: Runtime) -> EngineHome:
    """Opens the engine of a member. Raises OSError (Corruption among them), ValueError."""
    # Each engine is imported only where it is used: a process has one of them at the most.
    open_engine: OpenEngine = partial(_open_lsm if name == "lsm" else _open_btree, runtime)
    return await EngineHome.open(runtime.disk, DIRECTORY, open_engine)


async def _open_lsm(runtime: Runtime, path: str) -> DurableEngine:
    from storage.lsm.engine import LsmEngine

    return await LsmEngine.open(runtime.disk, path, clock=runtime.clock, random=runtime.random)


async def _open_btree(runtime: Runtime, path: str) -> DurableEngine:
    from storage.btree import BTreeEngine

    return await BTreeEngine.open(runtime.disk, path)
