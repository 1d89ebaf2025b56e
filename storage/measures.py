"""What an engine tells of itself to whoever exports metrics: by name, without either knowing the other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One number."""

    name: str
    """In snake case, with the engine's name first and the unit last, as Prometheus names metrics; no `_total`."""
    text: str
    """A sentence for whoever reads it."""
    value: float
    is_counter: bool = False
    """Whether it only ever grows while the engine is open."""
