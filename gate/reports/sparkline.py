"""Dose-response in a few characters."""

from __future__ import annotations

from collections.abc import Sequence

from gate.probes.types import Curve

BLOCKS = "▁▂▃▄▅▆▇█"
INELIGIBLE = "·"


def sparkline(values: Sequence[float | None], low: float = 0.0, high: float = 1.0) -> str:
    """One block per value between `low` and `high`; values outside are clamped, `None` is a dot."""
    if high <= low:
        raise ValueError(f"empty range: {low} to {high}")
    return "".join(INELIGIBLE if value is None else _block((value - low) / (high - low)) for value in values)


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, max(0, round(share * (len(BLOCKS) - 1))))]


def dose_sparkline(curve: Curve) -> str:
    """The rate at each dose of `curve`, lowest dose first; a dot where too few answers stay fluent."""
    points = sorted(curve.points, key=lambda point: point.dose)
    return sparkline([point.rate.value if point.eligible else None for point in points])
