"""The directions that are steered and the subspaces that are ablated, with their random controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gate.crosscoder.types import DFC
    from gate.features.firing import Firing
    from gate.schema import Side

OPENING = 4  # aligned positions from the decision position on


class Target(NamedTuple):
    """What is steered: `vector` [d] is one natural dose, the latents' mean contribution where the behaviour shows minus that on
    control prompts."""

    name: str  # a feature id, or "bundle"
    vector: Tensor


class Subspace(NamedTuple):
    """What is ablated: coordinates along `basis` [r, d] are moved to `target` [r], their mean on control prompts."""

    basis: Tensor
    target: Tensor


def opening_positions(firing: Firing) -> NDArray[np.bool_]:
    """[N]: the decision position and the next few of each answer, where a behaviour is chosen.

    Averaged over whole answers a contrast is diluted by what every answer has; at the decision position alone it misses features
    that carry the choice on.
    """
    answer = firing.answer_N
    seen = np.cumsum(answer)
    first = np.searchsorted(firing.document_N, firing.document_N)
    nth = seen - (seen[first] - answer[first])
    return answer & (nth <= OPENING)


def contrast(
    firing: Firing, latents: Sequence[int], shown: NDArray[np.int64], plain: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[n]: mean activation of each latent at the opening of answers that show the behaviour, minus that of answers that do not."""
    opening = opening_positions(firing)
    means = []
    for documents in (shown, plain):
        rows = np.flatnonzero(np.isin(firing.document_N, documents) & opening)
        means.append(np.asarray(firing.acts[rows][:, list(latents)].mean(axis=0)).ravel())
    return np.asarray(means[0] - means[1])


def targets(
    dfc: DFC, side: Side, names: Sequence[str], latents: Sequence[int], delta_n: NDArray[np.float64], singles: int
) -> list[Target]:
    """The bundle of all latents, then the `singles` that contribute most on their own."""
    import torch

    from gate.crosscoder.dfc import decoder_rows

    parts = torch.from_numpy(delta_n).float()[:, None] * decoder_rows(dfc, side, list(latents))
    bundle = [Target("bundle", parts.sum(0))] if len(latents) > 1 else []
    order = parts.norm(dim=1).argsort(descending=True, stable=True)[:singles]
    return bundle + [Target(names[int(i)], parts[int(i)]) for i in order]


def span(rows_nd: Tensor, residual_Nd: Tensor, *, rtol: float = 1e-4) -> Subspace:
    """The span of some rows, its coordinates held at their mean over `residual_Nd` (the control prompts' positions)."""
    import torch

    _, singular, basis = torch.linalg.svd(rows_nd, full_matrices=False)
    basis = basis[singular > rtol * singular[0]].contiguous()
    return Subspace(basis, (residual_Nd @ basis.T).mean(0))


def random_directions(vector: Tensor, count: int, seed: int) -> list[Tensor]:
    """Isotropic random directions of the same norm: the controls of steering."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, len(vector), generator=generator)
    return list(noise / noise.norm(dim=1, keepdim=True) * vector.norm())


def random_subspaces(space: Subspace, residual_Nd: Tensor, control_Nd: Tensor, count: int, seed: int) -> list[Subspace]:
    """Subspaces of the same rank, held at their control mean: the controls of ablation.

    They are spanned by random mixtures of real residuals. Isotropic noise would be an easy control here: most of it lies where
    the stream has no variance, so holding it still removes nothing.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    centred = residual_Nd - residual_Nd.mean(0)
    rank = len(space.basis)
    mixtures = torch.randn(count * rank, len(centred), generator=generator) @ centred
    return [span(mixtures[i * rank : (i + 1) * rank], control_Nd) for i in range(count)]
