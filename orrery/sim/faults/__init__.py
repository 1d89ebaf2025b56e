"""Faults as objects with a name, for scenarios on any cluster of hosts; docs/simulator.md lists them."""

from orrery.sim.faults.clocks import ClockDrift, ClockStep
from orrery.sim.faults.disks import BitRot, FailingSync, FullDisk, LyingSync, SlowDisk, Wipe
from orrery.sim.faults.harass import harass, restore
from orrery.sim.faults.nemesis import Cluster, Nemesis, Whom, choose
from orrery.sim.faults.network import (
    BreakConnections,
    Bridge,
    Halves,
    Isolate,
    IsolateLeader,
    OneWayCut,
    RingMajority,
    SlowNetwork,
    SwizzleClog,
)
from orrery.sim.faults.processes import CrashAt, Kill, Pause, PowerLoss

__all__ = [
    "BitRot",
    "BreakConnections",
    "Bridge",
    "ClockDrift",
    "ClockStep",
    "Cluster",
    "CrashAt",
    "FailingSync",
    "FullDisk",
    "Halves",
    "Isolate",
    "IsolateLeader",
    "Kill",
    "LyingSync",
    "Nemesis",
    "OneWayCut",
    "Pause",
    "PowerLoss",
    "RingMajority",
    "SlowDisk",
    "SlowNetwork",
    "SwizzleClog",
    "Whom",
    "Wipe",
    "choose",
    "harass",
    "restore",
]
