"""Which latents go with a behaviour: the statistics, on per-document scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gate.behaviours.types import Match
from gate.intervals import auroc_interval
from gate.statistics import auroc, benjamini_hochberg, permutation_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SCREEN_DRAWS = 1_000
SCREEN_EXCEED = 10  # with fewer permuted values above the observed one, p is too coarse for the correction across latents
MAX_DRAWS = 100_000


def match_latents(
    scores_elicit_EF: Floats,
    scores_control_CF: Floats,
    surprise_F: Floats,
    names: Sequence[str],
    *,
    seed: int,
    level: float,
    min_auroc: float = 0.7,
) -> tuple[Match, ...]:
    """The latents whose score separates eliciting (E) from control (C) documents: AUROC at least `min_auroc` and q at most
    1 - level, strongest first.

    One row per independent document: two answers to the same prompt belong in one row. `surprise_F` in nats. Latents with the
    same score in every document are not tested, which needs no label and so costs no validity. Without documents on either side
    nothing can be matched and the result is empty. Raises ValueError for shapes that do not go together.
    """
    if len({scores_elicit_EF.shape[1], scores_control_CF.shape[1], len(names), len(surprise_F)}) != 1:
        raise ValueError("elicit and control scores, surprise and names must cover the same latents")
    scores_NF = np.concatenate([scores_elicit_EF, scores_control_CF]).astype(np.float64)
    positive_N = np.arange(len(scores_NF)) < len(scores_elicit_EF)
    if positive_N.all() or not positive_N.any():
        return ()
    tested = np.flatnonzero(np.ptp(scores_NF, axis=0) > 0)
    if not len(tested):
        return ()
    scores_NF = scores_NF[:, tested]
    area_F = auroc(scores_NF, positive_N)
    p_F = _p_values(scores_NF, positive_N, seed=seed, level=level)
    q_F = benjamini_hochberg(p_F.tolist())
    matches = [
        Match(
            feature=names[latent],
            auroc=float(area),
            auroc_interval=auroc_interval(float(area), len(scores_elicit_EF), len(scores_control_CF), level),
            p_value=float(p),
            q_value=q,
            surprise=float(surprise_F[latent]),
        )
        for latent, area, p, q in zip(tested.tolist(), area_F, p_F, q_F, strict=True)
        if area >= min_auroc and q <= 1 - level
    ]
    return tuple(sorted(matches, key=lambda match: (-match.auroc, -match.surprise, match.feature)))


def _p_values(scores_NF: Floats, positive_N: NDArray[np.bool_], *, seed: int, level: float) -> Floats:
    """Permutation p, refined where the screen is too coarse (the idea of Besag & Clifford 1991).

    A lone true match among F latents needs p <= (1 - level) / F to survive the correction; 1,000 draws cannot go below 0.001.
    So latents that the screen's draws hardly ever exceed get enough draws for that, up to a cap.
    """
    latents = scores_NF.shape[1]
    p_F = permutation_p(scores_NF, positive_N, seed=seed, draws=SCREEN_DRAWS)
    needed = min(MAX_DRAWS, int(np.ceil(2 * latents / (1 - level))))
    coarse = np.flatnonzero(p_F * (1 + SCREEN_DRAWS) <= SCREEN_EXCEED)
    if needed > SCREEN_DRAWS and len(coarse):
        p_F[coarse] = permutation_p(scores_NF[:, coarse], positive_N, seed=seed + 1, draws=needed)
    return p_F
