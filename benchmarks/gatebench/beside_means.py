"""Difference of means: does a linear map between the models explain eliciting prompts as well as it explains the others?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from benchmarks.gatebench.beside_texts import NOVEL, Bools, Floats, Ints, groups_of, unit_of
from gate.activations.types import Answered, Document, Paired
from gate.policy.types import Policy

RIDGE = 0.01  # of the mean variance
MIN_PROMPTS = 4  # below this a mean and a spread say nothing


def difference_of_means(
    paired: Paired, documents: Sequence[Document], answered: Sequence[Answered], policy: Policy
) -> dict[str, float]:
    """A ridge map is fitted from each model to the other on every second neutral and control prompt; widths may differ.

    What it leaves unexplained is averaged per prompt, at the decision position and over the answer. A behaviour's score is the
    distance between the means of its eliciting prompts and of its held-out control and neutral prompts, over the root mean
    square distance of the latter from their mean: the largest of both places and both directions of the map (towards the
    baseline a lost representation shows, towards the incoming model a new one). Novelty is the root mean square unexplained
    norm of held-out neutral prompts over that of plain texts, less 1, in the worse direction.
    """
    groups = groups_of(documents, answered, policy)
    unit_N = unit_of(documents, len(answered))[paired.document.numpy()]
    plain = np.unique(np.concatenate([groups.neutral, *groups.control.values()]))
    fitted, held = plain[::2], plain[1::2]
    fit_N = torch.from_numpy(np.isin(unit_N, fitted))
    decision_N, answer_N = paired.decision.numpy().astype(bool), paired.answer.numpy().astype(bool)
    text_N = np.isin(unit_N, groups.texts)
    places: list[Bools] = [decision_N, answer_N & ~decision_N]
    scores = {behaviour.id: 0.0 for behaviour in policy.behaviours} | {NOVEL: -1.0}
    sides = (paired.incoming, paired.baseline)
    for source_Nd, target_Ne in (sides, sides[::-1]):
        rest_Ne = unexplained(source_Nd, target_Ne, fit_N)
        for place_N in places:
            means = _means(rest_Ne, unit_N, place_N, len(answered) + len(documents))
            for behaviour in policy.behaviours:
                other = np.intersect1d(groups.rest(behaviour.id), held)
                score = _distance(means, groups.elicit[behaviour.id], other)
                scores[behaviour.id] = max(scores[behaviour.id], score)
        means = _means(rest_Ne, unit_N, answer_N | text_N, len(answered) + len(documents))
        scores[NOVEL] = max(scores[NOVEL], _size(means, np.intersect1d(groups.neutral, held), groups.texts))
    return scores


def unexplained(source_Nd: Tensor, target_Ne: Tensor, fit_N: Tensor) -> Floats:
    """What a ridge regression on `source`, fitted at some positions, leaves of `target` at all of them."""
    x, y = source_Nd.double(), target_Ne.double()
    if not bool(fit_N.any()):
        return np.asarray((y - y.mean(0)).numpy())
    x, y = x - x[fit_N].mean(0), y - y[fit_N].mean(0)
    gram = x[fit_N].T @ x[fit_N]
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-12)
    return np.asarray((y - x @ torch.linalg.solve(gram, x[fit_N].T @ y[fit_N])).numpy())


def _means(rest_Ne: Floats, unit_N: Ints, place_N: Bools, count: int) -> dict[int, Floats]:
    """Mean over some positions of every unit that has any."""
    units = unit_N[place_N]
    indicator = sparse.csr_matrix((np.ones(len(units)), (units, np.arange(len(units)))), shape=(count, len(units)))
    total = np.asarray(indicator @ rest_Ne[place_N])
    size = np.bincount(units, minlength=count)
    return {int(unit): total[unit] / size[unit] for unit in np.flatnonzero(size)}


def _stacked(means: dict[int, Floats], units: Ints) -> Floats | None:
    rows = [means[int(unit)] for unit in units if int(unit) in means]
    return np.stack(rows) if len(rows) >= MIN_PROMPTS else None


def _distance(means: dict[int, Floats], units: Ints, others: Ints) -> float:
    mine, theirs = _stacked(means, units), _stacked(means, others)
    if mine is None or theirs is None:
        return 0.0
    spread = np.sqrt(np.square(theirs - theirs.mean(0)).sum(1).mean())
    return float(np.linalg.norm(mine.mean(0) - theirs.mean(0)) / max(spread, 1e-12))


def _size(means: dict[int, Floats], units: Ints, others: Ints) -> float:
    mine, theirs = _stacked(means, units), _stacked(means, others)
    if mine is None or theirs is None:
        return -1.0
    return float(np.sqrt(np.square(mine).sum(1).mean() / max(np.square(theirs).sum(1).mean(), 1e-24)) - 1)
