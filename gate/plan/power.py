"""Exact power of the gate's drift rules, by enumeration of the paired tables.

Model: prompts are independent; the baseline shows the behaviour on each with probability `base`; the incoming model loses it
on a share `flip` of all prompts and gains it on `flip` + drift. Stated for an increase: a decrease from rate r is an increase
of the opposite outcome from 1 - r, and the rules treat both alike. Where there is no room for the flips they are cut, never the
drift.

Rules, as in gate.behaviours.drift and gate.verdict.decide: *clear*, the lower bound of Newcombe's paired interval (1998, method
10) beyond the tolerance; *significant*, exact McNemar p times the number of behaviours below 1 - confidence (Holm's worst case)
and the estimate beyond the tolerance. Both hold for more gains once they hold, all else equal, so for each count of lost and of
kept prompts one threshold of gains decides; tests compare with every table.

Shape legend: T combinations of (lost, both).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Rule = Literal["fail", "warn"]  # "warn": at least a warn
NEGLIGIBLE = 1e-10  # probability of the tables that are left out
RESOLUTION = 0.001  # of a drift
MAX_PROMPTS = 4096
ROUNDING = 1e-9


class Setting(NamedTuple):
    """What the rules depend on. `behaviours`: how many p-values Holm corrects for."""

    tolerance: float
    confidence: float
    behaviours: int


class Cells(NamedTuple):
    """Probabilities of the paired table."""

    both: float
    lost: float
    gained: float
    neither: float


def cells(base: float, drift: float, flip: float) -> Cells:
    """The model above. Raises ValueError where the drift does not fit between `base` and 1."""
    if not 0 <= base <= 1 or not 0 <= drift <= 1 - base + ROUNDING:
        raise ValueError(f"no room for a drift of {drift} from {base}")
    back = max(0.0, min(flip, base, 1 - base - drift))
    return Cells(base - back, back, drift + back, max(0.0, 1 - base - drift - back))


def power(n: int, drift: float, setting: Setting, rule: Rule, *, base: float = 0.0, flip: float = 0.0) -> float:
    """Probability that the rule fires with n prompts under the model."""
    chance = cells(base, drift, flip)
    total = 0.0
    for lost, weight in _likely(n, chance.lost):
        rest = n - lost
        both_T, share_T = _binomial(rest, _ratio(chance.both, 1 - chance.lost))
        least_T = _least_gains(n, lost, both_T, setting, rule)
        gain = _ratio(chance.gained, chance.gained + chance.neither)
        total += weight * float(share_T @ _at_least(least_T, rest - both_T, gain))
    return min(1.0, total)


def worst_power(n: int, drift: float, setting: Setting, rule: Rule, bases: tuple[float, ...], flip: float) -> float:
    """The lowest power over those base rates that leave room for the drift; 0 where none does."""
    roomy = [base for base in bases if drift <= 1 - base + ROUNDING]
    return min((power(n, drift, setting, rule, base=base, flip=flip) for base in roomy), default=0.0)


@lru_cache(maxsize=1024)
def smallest_drift(n: int, setting: Setting, rule: Rule, target: float, bases: tuple[float, ...], flip: float) -> float | None:
    """The smallest drift with `worst_power` of at least `target`, rounded up to 0.001; None if not even the largest has."""
    steps = int((1 - min(bases)) / RESOLUTION + ROUNDING)

    def found(step: int) -> bool:
        return worst_power(n, step * RESOLUTION, setting, rule, bases, flip) >= target

    if steps < 1 or not found(steps):
        return None
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return round(high * RESOLUTION, 3)


@lru_cache(maxsize=1024)
def prompts_needed(
    drift: float, setting: Setting, rule: Rule, target: float, bases: tuple[float, ...], flip: float
) -> int | None:
    """Prompts with which a drift has a `worst_power` of `target`; None if more than 4,096 or if the drift has no room.

    By bisection: power rises with n in a saw-tooth, so a slightly smaller number may do as well.
    """

    def found(n: int) -> bool:
        return worst_power(n, drift, setting, rule, bases, flip) >= target

    high = 8
    while not found(high):
        high *= 2
        if high > MAX_PROMPTS or drift > 1 - min(bases) + ROUNDING:
            return None
    low = high // 2 if high > 8 else 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _ratio(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _binomial(n: int, chance: float) -> tuple[Ints, Floats]:
    """Counts of a binomial that are not negligible, with their probabilities."""
    counts = np.arange(n + 1)
    with np.errstate(divide="ignore"):
        logs = special.xlogy(counts, chance) + special.xlog1py(n - counts, -chance)
    logs = logs + special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    weights = np.exp(logs)
    keep = weights > NEGLIGIBLE / (n + 1)
    return counts[keep], weights[keep]


def _likely(n: int, chance: float) -> list[tuple[int, float]]:
    counts, weights = _binomial(n, chance)
    return list(zip(counts.tolist(), weights.tolist(), strict=True))


def _at_least(least_T: Ints, n_T: Ints, chance: float) -> Floats:
    """P(Binomial(n, chance) >= least); `least` above n never happens."""
    tail = special.bdtrc(least_T - 1.0, n_T, chance)
    return np.asarray(np.where(least_T <= 0, 1.0, np.where(least_T > n_T, 0.0, tail)), np.float64)


def _least_gains(n: int, lost: int, both_T: Ints, setting: Setting, rule: Rule) -> Ints:
    clear_T = _clear_from(n, lost, int(both_T[0]), int(both_T[-1]), setting.tolerance, setting.confidence)
    if rule == "fail":
        return clear_T
    return np.minimum(clear_T, _significant_from(n, lost, setting))


@lru_cache(maxsize=4096)
def _clear_from(n: int, lost: int, first: int, last: int, tolerance: float, confidence: float) -> Ints:
    """For each `both` from `first` to `last` the fewest gains that are clear of the tolerance; too many if none."""
    both_T = np.arange(first, last + 1)
    low_T, high_T = np.full(len(both_T), -1), n - lost - both_T + 1  # never clear at low, clear (or impossible) at high
    while (high_T - low_T > 1).any():
        middle_T = (low_T + high_T) // 2
        clear_T = lower_bound(n, both_T, lost, middle_T, confidence) > tolerance
        low_T, high_T = np.where(clear_T, low_T, middle_T), np.where(clear_T, middle_T, high_T)
    return high_T


@lru_cache(maxsize=4096)
def _significant_from(n: int, lost: int, setting: Setting) -> int:
    gained = np.arange(lost, n - lost + 1)
    p = np.minimum(1.0, 2 * special.bdtr(np.full(len(gained), float(lost)), gained + lost, 0.5)) * setting.behaviours
    # strictly beyond: an estimate that equals the tolerance must not count by rounding
    fires = (np.minimum(p, 1.0) < 1 - setting.confidence) & ((gained - lost) / n > setting.tolerance + ROUNDING)
    return int(gained[fires][0]) if fires.any() else n + 1


def lower_bound(n: int, both: Ints, lost: int, gained: Ints, confidence: float) -> Floats:
    """Lower bound of `gate.statistics.paired_difference` (Newcombe 1998, method 10), vectorised over `both` and `gained`."""
    first, second, neither = both + lost, both + gained, n - both - lost - gained
    p1, _, up1 = _wilson(first, n, confidence)
    p2, low2, _ = _wilson(second, n, confidence)
    product = first.astype(float) * (n - first) * second * (n - second)
    numerator = (both * neither - lost * gained).astype(float)
    numerator = np.where(numerator > 0, np.maximum(numerator - n / 2, 0.0), numerator)
    phi = np.divide(numerator, np.sqrt(product), out=np.zeros(len(product)), where=product > 0)
    down2, up1 = p2 - low2, up1 - p1
    low_T = (p2 - p1) - np.sqrt(down2**2 - 2 * phi * down2 * up1 + up1**2)
    return np.asarray(np.maximum(-1.0, low_T), np.float64)


def _wilson(hits: Ints, n: int, confidence: float) -> tuple[Floats, Floats, Floats]:
    z = float(special.ndtri((1 + confidence) / 2))
    value = hits / n
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = np.where(hits == 0, 0.0, np.maximum(0.0, centre - half))
    return value, low, np.where(hits == n, 1.0, np.minimum(1.0, centre + half))
