"""The engines on a disk that kv can run on, by the name that the configuration gives them."""

import logging
from functools import partial
from typing import Literal

from runtime import Runtime
from services.kv.backend.durable import KvDurability
from services.kv.backend.home import EngineHome, OpenEngine
from services.kv.backend.state import DamagedState
from storage.engine import Corruption, DurableEngine

_log = logging.getLogger(__name__)

StoredEngineName = Literal["lsm", "btree"]
DIRECTORY = "state"
"""Of the engine, within the data directory."""


async def open_state(name: StoredEngineName, runtime: Runtime, *, keep: bool, replaceable: bool) -> KvDurability:
    """Opens the state of a member, or begins an empty one.

    Without `keep` what is there is void: the log that it belongs to is gone. What is damaged is given up if it is
    `replaceable`, which means that the other members have it; the replica then finds that it lacks what the log does
    not hold any more, and is rebuilt. Raises Corruption, DamagedState and other ValueErrors, OSError.
    """
    # Each engine is imported only where it is used: a process has one of them at the most.
    open_engine: OpenEngine = partial(_open_lsm if name == "lsm" else _open_btree, runtime)
    try:
        return await _open(runtime, open_engine, keep=keep)
    except (Corruption, DamagedState) as damage:
        if not replaceable:
            raise
        _log.error(
            "the state is damaged and given up: it is rebuilt from the log and the other members",
            extra={"damage": str(damage)},
        )
        return await _open(runtime, open_engine, keep=False)


async def _open(runtime: Runtime, open_engine: OpenEngine, *, keep: bool) -> KvDurability:
    home = await EngineHome.open(runtime.disk, DIRECTORY, open_engine, keep=keep)
    try:
        return await KvDurability.open(home, runtime.clock)
    except BaseException:
        await home.close()
        raise


async def _open_lsm(runtime: Runtime, path: str) -> DurableEngine:
    from storage.lsm.engine import LsmEngine

    return await LsmEngine.open(runtime.disk, path, clock=runtime.clock, random=runtime.random)


async def _open_btree(runtime: Runtime, path: str) -> DurableEngine:
    from storage.btree import BTreeEngine

    return await BTreeEngine.open(runtime.disk, path)
