"""What an intervention proved: pure decisions over the numbers that probes collect.

Sources and formulas are in docs/statistics.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from gate.intervals import unseen_share
from gate.probes.types import Mediation
from gate.schema import Interval, NotRun
from gate.statistics import Paired, independent_difference, paired, rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gate.probes.types import DosePoint
    from gate.schema import Rate, Side

MIN_CONTROLS = 8  # control directions below which nothing counts as proven
MIN_EFFECT = 0.15  # change of a rate that is worth a sentence in a report
MIN_REMOVED = 0.5  # share of the excess that ablation must remove
MIN_FLUENT = 0.8  # share of answers that must stay fluent under an ablation
ROUNDING = 1e-9  # 0.35 - 0.2 is a hair below 0.15

FLOOR_MARGIN = 2.0  # nats below the 5th percentile of natural answers: e^2 less likely a token still counts as fluent
MAX_REPEATS = 3  # consecutive copies of one n-gram that natural text may contain ("no, no, no")
LONGEST_NGRAM = 4
WINDOW = 32  # tokens
MIN_WINDOW = 16  # shorter answers are too short for the distinct ratio
MIN_DISTINCT = 0.25  # distinct tokens in a window over its length; natural text even of single characters has about 0.4


class Confirmation(NamedTuple):
    """What a dose-response curve shows; the fields of `Curve` that are conclusions."""

    confirmed: bool
    effect: float
    interval: Interval | NotRun
    best_dose: float
    room: bool
    why: str


def curve_confirmed(
    points: Sequence[DosePoint],
    direction: Literal["up", "down"],
    min_effect: float = MIN_EFFECT,
    *,
    level: float = 0.95,
    min_controls: int = MIN_CONTROLS,
) -> Confirmation:
    """Whether steering moves the rate in `direction`.

    Confirmed iff at one eligible dose (its text stays fluent) the change against dose 0

    1. is at least `min_effect`,
    2. exceeds the change under every one of at least `min_controls` control directions at that very dose, and
    3. has an interval clear of 0: Newcombe's for independent proportions, conservative on the same prompts; one-sided, for the
       direction is fixed beforehand, with the error 1 - level split over the eligible doses (Bonferroni).

    `effect`, `interval` and `best_dose` belong to the confirming dose with the largest change, else to the eligible dose with
    the largest (0 at dose 0 where none is eligible). `interval` is that of condition 3: it holds whichever dose is chosen.
    `room` is False where dose 0 leaves less than `min_effect` to move. Raises ValueError without exactly one point at dose 0.
    """
    unsteered = [point for point in points if point.dose == 0]
    if len(unsteered) != 1:
        raise ValueError(f"a dose-response curve needs one unsteered point, not {len(unsteered)}")
    start, sign = unsteered[0].rate, 1.0 if direction == "up" else -1.0
    room = (1 - start.value if direction == "up" else start.value) >= min_effect - ROUNDING
    if not room:
        why = f"the rate is {start.value:.0%} unsteered: no room to move {direction}"
        return Confirmation(False, 0.0, NotRun(not_run=why), 0.0, False, why)
    eligible = [point for point in points if point.dose != 0 and point.eligible]
    if not eligible:
        why = "at no dose did the text stay fluent"
        return Confirmation(False, 0.0, NotRun(not_run=why), 0.0, True, why)
    # one-sided at (1 - level) / doses is the bound of a two-sided interval with twice that error
    point_level = max(0.5, 1 - 2 * (1 - level) / len(eligible))
    objections = {point.dose: _objection(start, point, sign, min_effect, min_controls, point_level) for point in eligible}
    confirming = [point for point in eligible if not objections[point.dose]]
    # smallest dose among equals: the gentlest intervention that shows it
    best = max(
        confirming or eligible, key=lambda point: (sign * (point.rate.value - start.value), -abs(point.dose), point.dose)
    )
    effect = sign * (best.rate.value - start.value)
    interval = _signed_interval(start, best.rate, sign, point_level)
    moved = f"at dose {best.dose:g} the rate moves from {start.value:.0%} to {best.rate.value:.0%}"
    if not confirming:
        return Confirmation(False, effect, interval, best.dose, True, f"{moved}, but {objections[best.dose]}")
    strongest = max(sign * (control - start.value) for control in best.controls)
    rival = f"the strongest of {len(best.controls)} controls moves it by {max(0.0, 100 * strongest):.0f} points"
    return Confirmation(True, effect, interval, best.dose, True, f"{moved}; {rival}")


def _objection(start: Rate, point: DosePoint, sign: float, min_effect: float, min_controls: int, level: float) -> str:
    """Why this dose proves nothing; empty where it does."""
    effect = sign * (point.rate.value - start.value)
    if effect < min_effect - ROUNDING:
        return f"less than {100 * min_effect:.0f} points is not an effect"
    if len(point.controls) < min_controls:
        return f"only {len(point.controls)} of {min_controls} control directions were tried"
    rivals = sum(sign * (control - start.value) >= effect for control in point.controls)
    if rivals:
        return f"{rivals} of {len(point.controls)} controls move it as far"
    clear = _signed_interval(start, point.rate, sign, level).low > 0
    return "" if clear else f"{point.rate.n} prompts are too few to tell that from chance"


def _signed_interval(start: Rate, point: Rate, sign: float, level: float) -> Interval:
    """Of the change from `start` to `point`, positive in the direction `sign`."""
    interval = independent_difference(start, point, level).interval
    low, high = (interval.low, interval.high) if sign > 0 else (-interval.high, -interval.low)
    return Interval(low=low, high=high, level=interval.level)


def mediation(
    before_hits: Sequence[bool],
    after_hits: Sequence[bool],
    reference_rate: float,
    control_after_rates: Sequence[float],
    *,
    side: Side,
    fluent_share: float,
    seed: int,
    level: float = 0.95,
    min_excess: float = MIN_EFFECT,
    min_removed: float = MIN_REMOVED,
    min_controls: int = MIN_CONTROLS,
    min_fluent: float = MIN_FLUENT,
    draws: int = 2000,
) -> Mediation | NotRun:
    """Share of a model's excess over the other model's rate that ablation removes: (before - after) / (before - reference).

    The sign takes care of itself: where the model exhibits *less* than the reference, ablation that brings the behaviour back
    counts as removing the difference. Shares are clipped to [-1, 1]: past the reference, all of it is removed.
    The interval is a Bayesian bootstrap over prompts (Rubin 1981) of the paired table with half a prompt added to each cell
    (Agresti & Min 2005), so agreement of all prompts is not certainty; `reference_rate` is taken as given. Clipping would leave
    no width where the other model is overshot: the share that so few prompts may have missed (rule of three) stays open.

    Confirmed iff at least `min_removed` is removed, the interval is clear of 0, every one of at least `min_controls` control
    subspaces removes less, and at least `min_fluent` of the answers stay fluent: broken text exhibits nothing and would count
    as a removal. NotRun where before and reference differ by less than `min_excess`. Raises ValueError for unequal lengths.
    """
    table = paired(before_hits, after_hits)
    before, after = rate(table.both + table.lost, table.n, level), rate(table.both + table.gained, table.n, level)
    excess = before.value - reference_rate
    if abs(excess) < min_excess - ROUNDING:
        return NotRun(
            not_run=f"nothing to mediate: the rates of both models, {before.value:.0%} and {reference_rate:.0%}, "
            f"lie within {100 * min_excess:.0f} points"
        )
    removed = _clipped((before.value - after.value) / excess)
    low, high = _removed_interval(table, reference_rate, min_excess, seed=seed, level=level, draws=draws)
    margin = abs(removed) * unseen_share(table.n, level)
    low, high = min(low, removed - margin), max(high, removed + margin)
    interval = Interval(low=max(-1.0, low), high=min(1.0, high), level=level)
    controls = tuple(_clipped((before.value - control) / excess) for control in control_after_rates)
    if removed < min_removed - ROUNDING:
        objection = f"less than {min_removed:.0%}"
    elif interval.low <= 0:
        objection = f"but {table.n} prompts are too few to tell that from chance"
    elif fluent_share < min_fluent - ROUNDING:
        objection = f"but only {fluent_share:.0%} of the answers stay fluent"
    else:
        objection = _rivals(removed, controls, min_controls)
    proof = objection or f"the strongest of {len(controls)} control subspaces removes {max(controls):.0%}"
    return Mediation(
        side=side,
        before=before,
        after=after,
        reference=reference_rate,
        removed=removed,
        interval=interval,
        controls=controls,
        fluent_share=fluent_share,
        fluent_interval=rate(round(fluent_share * table.n), table.n, level).interval,
        confirmed=not objection,
        why=f"ablation moves the rate from {before.value:.0%} to {after.value:.0%} and so removes {removed:.0%} of the "
        f"difference to the other model, {proof}",
    )


def _rivals(removed: float, controls: Sequence[float], min_controls: int) -> str:
    """Why the control subspaces do not let a removal count; empty where they do."""
    if len(controls) < min_controls:
        return f"but only {len(controls)} of {min_controls} control subspaces were tried"
    rivals = sum(control >= removed for control in controls)
    return f"but {rivals} of {len(controls)} control subspaces remove as much" if rivals else ""


def _clipped(share: float) -> float:
    return min(1.0, max(-1.0, share))


def _removed_interval(
    table: Paired, reference: float, min_excess: float, *, seed: int, level: float, draws: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    cells_B4 = rng.dirichlet(np.array(table) + 0.5, size=draws)
    before_B = cells_B4[:, 0] + cells_B4[:, 1]
    after_B = cells_B4[:, 0] + cells_B4[:, 2]
    sign = 1.0 if table.both + table.lost > reference * table.n else -1.0
    # a draw whose excess all but vanishes, or changes sign, must not blow up the ratio
    excess_B = np.maximum(sign * (before_B - reference), min_excess / 2)
    share_B = np.clip(sign * (before_B - after_B) / excess_B, -1.0, 1.0)
    low, high = np.quantile(share_B, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def natural_floor(medians: Sequence[float], margin: float = FLOOR_MARGIN) -> float:
    """The lowest median log-probability, nats a token, of a fluent answer: 5th percentile of natural answers less `margin`.

    `medians`: `median_logprob` of each of the model's own unsteered answers. Raises ValueError where there are none.
    """
    if not len(medians):
        raise ValueError("a fluency floor needs natural answers")
    return float(np.quantile(np.asarray(medians, dtype=np.float64), 0.05)) - margin


def median_logprob(logprobs: Sequence[float]) -> float:
    """Median over an answer's tokens, nats; robust against one rare name. Raises ValueError for an empty answer."""
    if not len(logprobs):
        raise ValueError("an empty answer has no median")
    return float(np.median(np.asarray(logprobs, dtype=np.float64)))


def fluency(logprobs: Sequence[float], ids: Sequence[int], natural_floor: float) -> bool:
    """Whether a steered answer is text a person could have meant.

    `logprobs`: log p of each of the answer's `ids` under the *unsteered* model, nats. Fluent iff not empty, the median is at
    least `natural_floor` and nothing is degenerate. The second test is needed because a model that has seen "Sorry Sorry" finds
    a third one likely. Raises ValueError for unequal lengths.
    """
    if len(logprobs) != len(ids):
        raise ValueError(f"{len(logprobs)} log-probabilities for {len(ids)} tokens")
    return len(ids) > 0 and median_logprob(logprobs) >= natural_floor and not degenerate(ids)


def degenerate(ids: Sequence[int]) -> bool:
    """Repetition no one would write: an n-gram of 1 to 4 tokens more than three times in a row, an answer that is nothing but
    one n-gram three times or more, or 32 tokens (16 to 31 in a shorter answer) of which less than a quarter are distinct.
    """
    return any(_repeats(ids, n) for n in range(1, LONGEST_NGRAM + 1)) or _monotonous(ids)


def _repeats(ids: Sequence[int], n: int) -> bool:
    run = 0  # positions in a row that equal the one n before
    for here in range(n, len(ids)):
        run = run + 1 if ids[here] == ids[here - n] else 0
        if run >= n * MAX_REPEATS:
            return True
    return len(ids) >= n * MAX_REPEATS and run == len(ids) - n


def _monotonous(ids: Sequence[int]) -> bool:
    if len(ids) < MIN_WINDOW:
        return False
    width = min(WINDOW, len(ids))
    return any(len(set(ids[i : i + width])) < MIN_DISTINCT * width for i in range(len(ids) - width + 1))
