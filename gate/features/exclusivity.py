"""Two checks that a latent is not an artefact of one training run.

Exclusivity by construction is weak evidence: the other model may represent the same thing in a form the shared latents missed.
So a linear probe tries to predict the firing from the other model. And a latent that a second seed does not find again is an
accident of initialisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from gate.features.firing import Firing

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

MIN_FIRING = 5  # held-out firing positions below which an AUROC says nothing


def predictability(firing: Firing, latents: list[int], other_Nd: Tensor, *, ridge: float = 1e-2) -> list[float | None]:
    """Held-out AUROC of a ridge probe from the other model's residual to each latent's firing; None: too few positions.

    Even prompts train, odd prompts test, so that no text is on both sides.
    """
    import torch

    even = torch.from_numpy(firing.prompt_D[firing.document_N] % 2 == 0)
    x = (other_Nd - other_Nd.mean(0)).double()
    x /= x.std().clamp_min(1e-12)
    fires = torch.zeros(len(x), len(latents), dtype=torch.float64)
    for column, latent in enumerate(latents):
        fires[torch.from_numpy(firing.column(latent)[0]), column] = 1.0
    train_x, train_y = x[even], fires[even]
    gram = train_x.T @ train_x / len(train_x) + ridge * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, train_x.T @ (train_y - train_y.mean(0)) / len(train_x))
    scores, truth = (x[~even] @ weights).numpy(), fires[~even].numpy() > 0
    return [_auroc(scores[:, i], truth[:, i]) for i in range(len(latents))]


def _auroc(score: Floats, positive: NDArray[np.bool_]) -> float | None:
    hits, misses = int(positive.sum()), int((~positive).sum())
    if min(hits, misses) < MIN_FIRING:
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def replication(firing: Firing, second: Firing, latents: list[int]) -> list[float]:
    """For each latent the highest Pearson correlation of its activations with those of any latent of the second seed."""
    rows = firing.acts.shape[0]
    ours = firing.acts[:, latents]
    cross = np.asarray((ours.T @ second.acts).todense()) / rows
    mean_a, mean_b = (np.asarray(m.mean(0)).ravel() for m in (ours, second.acts))
    var_a, var_b = (np.asarray(m.multiply(m).mean(0)).ravel() - mean**2 for m, mean in ((ours, mean_a), (second.acts, mean_b)))
    scale = np.sqrt(np.outer(var_a, var_b))
    corr = np.divide(cross - np.outer(mean_a, mean_b), scale, out=np.zeros_like(cross), where=scale > 1e-18)
    return [float(value) for value in corr.max(axis=1)]
