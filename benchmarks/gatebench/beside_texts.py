"""Detectors that read what the models say and how likely they find it, and never look inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.activations.types import Answered, Document, Paired
from gate.behaviours.drift import measure_drift
from gate.behaviours.scorers import build_scorer
from gate.policy.types import Policy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOVEL = "novel"


class Groups(NamedTuple):
    """Indices of prompts, by what they are for. Those of plain texts follow the prompts'."""

    elicit: dict[str, Ints]
    control: dict[str, Ints]
    neutral: Ints
    texts: Ints

    def rest(self, behaviour: str) -> Ints:
        """Prompts that should not elicit a behaviour: its controls and the neutral ones."""
        return np.concatenate([self.control[behaviour], self.neutral])


def unit_of(documents: Sequence[Document], prompts: int) -> Ints:
    """For each document its unit: the prompt that it answers, or for a plain text a number of its own after the prompts'.

    Both answers to a prompt are one unit: they are not independent.
    """
    return np.array([d.answered if d.answered >= 0 else prompts + i for i, d in enumerate(documents)], dtype=np.int64)


def groups_of(documents: Sequence[Document], answered: Sequence[Answered], policy: Policy) -> Groups:
    """The prompts of every behaviour, the neutral ones and the plain texts."""

    def prompts(behaviour: str | None, group: str) -> Ints:
        return np.array([i for i, a in enumerate(answered) if (a.behaviour, a.group) == (behaviour, group)], dtype=np.int64)

    ids = [behaviour.id for behaviour in policy.behaviours]
    texts = [len(answered) + i for i, document in enumerate(documents) if document.answered < 0]
    return Groups(
        {name: prompts(name, "elicit") for name in ids},
        {name: prompts(name, "control") for name in ids},
        prompts(None, "neutral"),
        np.array(texts, dtype=np.int64),
    )


def drift(answered: Sequence[Answered], policy: Policy) -> dict[str, float]:
    """What an output-only gate sees: the bound of the drift nearest to none, in the regressing direction, beyond the tolerance.

    It has nothing to say of a behaviour that nobody wrote a scorer for: its novelty is always 0.
    """
    scores = {NOVEL: 0.0}
    for behaviour in policy.behaviours:
        mine = [item for item in answered if item.behaviour == behaviour.id and item.group == "elicit"]
        exhibits = build_scorer(behaviour.scorer)
        old, new = [exhibits(item.baseline) for item in mine], [exhibits(item.incoming) for item in mine]
        interval = measure_drift(behaviour, old, new, policy.confidence).interval
        bounds = {"increase": interval.low, "decrease": -interval.high, "either": max(interval.low, -interval.high)}
        scores[behaviour.id] = bounds[behaviour.regression] - behaviour.tolerance
    return scores


def logit_difference(
    paired: Paired, documents: Sequence[Document], answered: Sequence[Answered], policy: Policy, quantile: float | None = None
) -> dict[str, float]:
    """Logit diff mining in the spirit of arXiv 2608.26462: how much likelier a model finds what it says than the other does.

    A prompt's figure is the mean (or a quantile) of log p(next segment) under the author minus under the other model, over
    both answers from the decision position on, in nats. A behaviour's score is the mean over its eliciting prompts minus that
    over its controls and the neutral prompts; novelty is the mean over neutral prompts minus that over plain texts. Where both
    models answer alike the harvest keeps no difference: it counts as 0.
    """
    groups = groups_of(documents, answered, policy)
    unit_N = unit_of(documents, len(answered))[paired.document.numpy()]
    inside_N = paired.answer.numpy().astype(bool)
    surprise_N = paired.surprise.numpy().astype(np.float64)
    count = len(answered) + len(documents)
    if quantile is None:
        size = np.bincount(unit_N[inside_N], minlength=count)
        figure = np.bincount(unit_N[inside_N], weights=surprise_N[inside_N], minlength=count) / np.maximum(size, 1)
    else:
        units, values = unit_N[inside_N], surprise_N[inside_N]
        order = np.argsort(units, kind="stable")
        parts = np.split(values[order], np.cumsum(np.bincount(units, minlength=count))[:-1])
        figure = np.array([float(np.quantile(part, quantile)) if len(part) else 0.0 for part in parts])
    scores = {b.id: _mean(figure[groups.elicit[b.id]]) - _mean(figure[groups.rest(b.id)]) for b in policy.behaviours}
    return scores | {NOVEL: _mean(figure[groups.neutral]) - _mean(figure[groups.texts])}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
