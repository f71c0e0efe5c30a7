"""From comparisons to a calibration: pooled counts, null distributions, and the least tolerance they ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gate.calibration.types import KINDS, BehaviourNull, LiftNull, NullComparison, NullDrift, Spread
from gate.policy.types import Behaviour, Policy
from gate.schema import NotRun
from gate.statistics import clopper_pearson

NOTHING = NotRun(not_run="no comparison has a value")


def spread(values: Iterable[float]) -> Spread | NotRun:
    """Quantiles of `values`, linearly interpolated (Hyndman & Fan 1996, type 7)."""
    ordered = sorted(float(value) for value in values)
    if not ordered:
        return NOTHING
    median, upper, high = (float(q) for q in np.quantile(ordered, [0.5, 0.75, 0.95]))
    return Spread(values=tuple(ordered), median=median, upper_quartile=upper, q95=high, maximum=ordered[-1])


def behaviour_nulls(policy: Policy, comparisons: Sequence[NullComparison]) -> tuple[BehaviourNull, ...]:
    """One per behaviour of the policy, in its order. Copies that two comparisons share are counted once."""
    distinct = list({one.copy_digest: one for one in comparisons}.values())
    results = []
    for index, behaviour in enumerate(policy.behaviours):
        drifts = [one.drifts[index] for one in distinct]
        known = [one for one in drifts if isinstance(one, NullDrift)]
        broken = next((one for one in drifts if isinstance(one, NotRun)), NOTHING)
        results.append(_null(behaviour, known, policy.confidence) if known else _unknown(behaviour, broken))
    return tuple(results)


def _unknown(behaviour: Behaviour, why: NotRun) -> BehaviourNull:
    return BehaviourNull(behaviour=behaviour.id, flips=why, drift=why, split_half=why, bound=0.0)


def _null(behaviour: Behaviour, drifts: Sequence[NullDrift], level: float) -> BehaviourNull:
    return BehaviourNull(
        behaviour=behaviour.id,
        flips=clopper_pearson(sum(one.gained + one.lost for one in drifts), sum(one.n for one in drifts), level),
        drift=spread(one.value for one in drifts),
        split_half=max(abs(one.even - one.odd) for one in drifts),
        bound=drift_bound(behaviour, drifts, level),
    )


def drift_bound(behaviour: Behaviour, drifts: Sequence[NullDrift], level: float) -> float:
    """What rounding alone may add to the drift of one behaviour, in its regressing direction; 0 where no flip regressed.

    A drift is at most the share of prompts that flip in the regressing direction, so that share bounds it. Its one-sided upper
    Clopper-Pearson bound at `level` over all pairs of a prompt and a copy, but not less than the largest drift that was seen.
    Without a regressing flip the bound is 0, not the 1 - (1 - level)^(1/n) of the rule of three: a small policy would otherwise
    be loosened for being small, and the interval of the drift in a check already pays for few prompts.
    """
    gained, lost = sum(one.gained for one in drifts), sum(one.lost for one in drifts)
    hits = {"increase": gained, "decrease": lost, "either": max(gained, lost)}[behaviour.regression]
    if not hits:
        return 0.0
    # the upper end of a two-sided interval of coverage 2 * level - 1 is the one-sided bound at `level`; levels of 0.5 have none
    n = sum(one.n for one in drifts)
    upper = clopper_pearson(hits, n, 2 * level - 1).interval.high if level > 0.5 else hits / n
    return max(upper, *(one.regressing for one in drifts))


def lift_nulls(comparisons: Sequence[NullComparison]) -> tuple[LiftNull, ...]:
    """One per kind: the largest lower bound of each comparison."""
    return tuple(
        LiftNull(kind=kind, bound=spread(lift.value for one in comparisons for lift in one.lifts if lift.kind == kind))
        for kind in KINDS
    )
