"""Surprise lift: how much more surprising the text is where a latent fires than elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from gate.features.firing import Firing, sum_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 1000
ROUNDING = 1e-9  # nats


class Lift(NamedTuple):
    """Per latent [F]: sum f s / sum f over some positions minus the mean of s over all of them, in nats, with a bootstrap
    interval over prompts; and the number of documents it fires in there. Latents that never fire there have lift and documents
    0. at_decision: the figures are those of decision positions alone.
    """

    value: Floats
    low: Floats
    high: Floats
    documents: NDArray[np.int64]
    at_decision: NDArray[np.bool_]


def best_lift(firing: Firing, author: int, *, seed: int, level: float) -> Lift:
    """For each latent the lift over whole answers or at decision positions alone, whichever has the higher lower bound.

    A latent that fires all through an answer which surprises only with its first word (a refusal, to a model that lost it) has
    next to no lift over the whole.
    """
    whole = surprise_lift(firing, author, firing.answer_N, seed=seed, level=level)
    chosen = surprise_lift(firing, author, firing.decision_N, seed=seed, level=level)
    better = chosen.low > whole.low
    value, low, high, documents = (np.where(better, b, a) for a, b in zip(whole[:4], chosen[:4], strict=True))
    return Lift(value, low, high, documents, better)


def surprise_lift(
    firing: Firing, author: int, positions_N: NDArray[np.bool_], *, seed: int, level: float, draws: int = DRAWS
) -> Lift:
    """Lift of every latent at once over some positions of what one model wrote: `author` is 1 (incoming) or -1 (baseline).

    Answers that both models give alike belong to either author and surprise neither. The two authors are kept apart because a
    lost behaviour shows only in what the baseline says, where the longer answers of the other model would drown it.

    The unit of resampling is the prompt, not the token: positions of one answer, and the two answers to one prompt, are not
    independent. With few prompts a percentile interval is too narrow, so its half-widths are stretched by sqrt(n / (n - 1)).
    Where all prompts agree, so that the draws do not vary, each half-width is the share of the value that so few prompts may
    have missed (the rule of three).
    """
    keep = positions_N & (firing.author_D[firing.document_N] != -author)
    weights = sparse.diags(keep.astype(np.float64)) @ firing.acts
    groups = firing.prompt_D[firing.document_N]
    count = int(firing.prompt_D.max()) + 1
    mass = sum_by(groups, count, weights)  # [G, F] sum of f
    hit = sum_by(groups, count, sparse.diags(firing.surprise_N) @ weights)  # [G, F] sum of f * s
    size = np.bincount(groups[keep], minlength=count).astype(np.float64)
    total = np.bincount(groups[keep], weights=firing.surprise_N[keep], minlength=count)
    value = _ratio(hit.sum(0), mass.sum(0)) - total.sum() / size.sum()

    rng = np.random.default_rng(seed)
    picks = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    sample = _ratio(picks @ hit, picks @ mass) - (picks @ total / np.maximum(picks @ size, 1))[:, None]
    low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2], axis=0)
    prompts = np.maximum((mass > 0).sum(0), 2)
    stretch = np.sqrt(prompts / (prompts - 1))
    fired = sum_by(firing.document_N, len(firing.prompt_D), weights) > 0
    nowhere = np.zeros(len(value), dtype=bool)
    unseen = 1 - (1 - level) ** (1 / np.maximum((mass > 0).sum(0), 1))
    agreed = high - low <= ROUNDING * np.maximum(1, np.abs(value))
    margin = np.where(agreed, np.maximum(np.abs(value) * unseen, ROUNDING), 0)
    below, above = np.maximum((value - low) * stretch, margin), np.maximum((high - value) * stretch, margin)
    return Lift(value, value - below, value + above, fired.sum(0), nowhere)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
