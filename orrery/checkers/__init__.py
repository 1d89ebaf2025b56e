"""Judges of recorded histories: `orrery check`, and what the simulator and the chaos runner call."""
