"""Intervals of figures whose unit of resampling is the document or the prompt, never the token. docs/statistics.md has the
formulas and sources.

No interval here has width zero: agreement of a few prompts is not certainty. Shape legend: G groups (prompts), L correlations,
B draws.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from gate.schema import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 1000
HALVINGS = 60


def unseen_share(n: float, level: float) -> float:
    """The largest share of a population that n independent draws miss with probability 1 - level: 1 - (1 - level)^(1/n).

    The rule of three (Hanley & Lippman-Hand 1983), exactly. Raises ValueError for n below 1.
    """
    if n < 1:
        raise ValueError(f"nothing was drawn: n = {n}")
    return float(1 - (1 - level) ** (1 / n))


def kish(sizes_G: Floats) -> float:
    """Effective number of independent clusters of unequal sizes, (sum m)^2 / sum m^2 (Kish 1965); 0 where all are empty."""
    squares = float(np.square(sizes_G).sum())
    return float(sizes_G.sum()) ** 2 / squares if squares > 0 else 0.0


def auroc_interval(value: float, positives: float, negatives: float, level: float) -> Interval:
    """Interval of an AUROC from so many independent positives and negatives: Newcombe (2006), method 5.

    The bounds are the t at which |value - t| = z se(t), with Hanley & McNeil's (1982) variance at t and both counts replaced by
    their mean in its exponents; a score interval, so its width is positive at 0 and 1 too. Under ties it is conservative. For
    clustered observations pass the effective numbers of clusters (`kish`): that treats a cluster as one observation. Raises
    ValueError unless 0 <= value <= 1 and both counts are positive.
    """
    if not 0 <= value <= 1 or positives <= 0 or negatives <= 0:
        raise ValueError(f"an AUROC of {value} from {positives} positives and {negatives} negatives has no interval")
    z = float(special.ndtri((1 + level) / 2))
    extra, pairs = (positives + negatives) / 2 - 1, positives * negatives

    def reach(t: float) -> float:
        spread = t * (1 - t) * max(0.0, 1 + extra * ((1 - t) / (2 - t) + t / (1 + t)))
        return z * sqrt(spread / pairs)

    low, high = value, value
    # |value - t| - reach(t) is positive at 0 and 1 and negative at `value`: halve towards its roots
    outer, inner = 0.0, value
    for _ in range(HALVINGS):
        low = (outer + inner) / 2
        outer, inner = (low, inner) if value - low > reach(low) else (outer, low)
    outer, inner = 1.0, value
    for _ in range(HALVINGS):
        high = (outer + inner) / 2
        outer, inner = (high, inner) if high - value > reach(high) else (outer, high)
    return Interval(low=max(0.0, min(low, value)), high=min(1.0, max(high, value)), level=level)


def correlation_intervals(
    sums_LG6: Sequence[Floats], values: Sequence[float], *, seed: int, level: float, draws: int = DRAWS
) -> list[Interval]:
    """Intervals of Pearson correlations over positions, by a bootstrap over the prompts that hold them.

    sums_LG6: for each correlation and each prompt the number of positions and the sums of a, b, a^2, b^2 and ab. Percentiles;
    and at least the range that stays open where a share u (`unseen_share` of the prompts in which either fires) might correlate
    at 0, or at 1: [value (1 - u), value (1 - u) + u]. Raises ValueError where neither fires anywhere.
    """
    if not len(sums_LG6):
        return []
    groups = len(sums_LG6[0])
    picks_BG = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    intervals = []
    for sums_G6, value in zip(sums_LG6, values, strict=True):
        drawn_B = _correlations(picks_BG @ sums_G6)
        low, high = (float(bound) for bound in np.quantile(drawn_B, [(1 - level) / 2, (1 + level) / 2]))
        unseen = unseen_share(int(np.count_nonzero(sums_G6[:, 3] + sums_G6[:, 4])), level)
        shrunk = value * (1 - unseen)
        low, high = min(low, value, shrunk), max(high, value, shrunk + unseen)
        intervals.append(Interval(low=max(-1.0, low), high=min(1.0, high), level=level))
    return intervals


def _correlations(sums_B6: Floats) -> Floats:
    """Pearson correlations from sums; 0 where one of the two does not vary."""
    n, a, b, aa, bb, ab = sums_B6.T
    spread = np.sqrt(np.maximum(aa / n - (a / n) ** 2, 0) * np.maximum(bb / n - (b / n) ** 2, 0))
    covariance = ab / n - (a / n) * (b / n)
    return np.asarray(np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 1e-18))
