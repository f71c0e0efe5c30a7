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


class Target(NamedTuple):
    """What is steered: `vector` [d] is one natural dose, the latents' mean contribution where the behaviour shows minus that on
    control prompts."""

    name: str  # a feature id, or "bundle"
    vector: Tensor


class Subspace(NamedTuple):
    """What is ablated: coordinates along `basis` [r, d] are moved to `target` [r], their mean on control prompts."""

    basis: Tensor
    target: Tensor


def contrast(
    firing: Firing, latents: Sequence[int], shown: NDArray[np.int64], control: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[n]: mean activation of each latent over the answer positions of the documents that show the behaviour, minus that over
    the control documents'."""
    means = []
    for documents in (shown, control):
        rows = np.flatnonzero(np.isin(firing.document_N, documents) & firing.answer_N)
        means.append(np.asarray(firing.acts[rows][:, list(latents)].mean(axis=0)).ravel() if len(rows) else 0.0)
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


def random_like(vector: Tensor, residual_Nd: Tensor, count: int, seed: int) -> list[Tensor]:
    """Directions of the same norm drawn from the residual stream's own covariance.

    Isotropic noise is an easy control: most of it lies where the model has no variance. These point where real text points.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    centred = residual_Nd - residual_Nd.mean(0)
    mix = torch.randn(count, len(centred), generator=generator) @ centred
    return list(mix / mix.norm(dim=1, keepdim=True) * vector.norm())


def random_subspaces(space: Subspace, residual_Nd: Tensor, control_Nd: Tensor, count: int, seed: int) -> list[Subspace]:
    """Subspaces of the same rank, spanned by random directions of the residual stream, held at their control mean."""
    import torch

    rank, width = space.basis.shape
    draws = random_like(torch.ones(width), residual_Nd, count * rank, seed)
    return [span(torch.stack(draws[i * rank : (i + 1) * rank]), control_Nd) for i in range(count)]
