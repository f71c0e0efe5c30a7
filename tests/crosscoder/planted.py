"""Synthetic pairs whose ground truth is known: sparse sources, some seen by both models, some by one only."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Planted(NamedTuple):
    """Activations of both sides, which sources are on [N, n], and the sources' unit directions on each side (0: unseen)."""

    baseline: torch.Tensor
    incoming: torch.Tensor
    on: torch.Tensor
    directions_baseline: torch.Tensor
    directions_incoming: torch.Tensor


def planted(n: int, da: int, db: int, shared: int, exclusive: int, active: float = 3.0, seed: int = 0) -> Planted:
    """Sources ordered [shared | baseline-exclusive | incoming-exclusive]; `active` are on at a time. The scales differ."""
    g = torch.Generator().manual_seed(seed)
    sources = shared + 2 * exclusive
    on = torch.rand(n, sources, generator=g) < active / sources
    strength = on * (torch.rand(n, sources, generator=g) + 0.5)
    directions = []
    for width in (da, db):
        rows = torch.randn(sources, width, generator=g)
        directions.append(rows / rows.norm(dim=1, keepdim=True))
    directions[0][shared + exclusive :] = 0
    directions[1][shared : shared + exclusive] = 0
    baseline = 6 * strength @ directions[0] + 0.03 * torch.randn(n, da, generator=g) + 2
    incoming = 0.5 * strength @ directions[1] + 0.003 * torch.randn(n, db, generator=g) - 1
    return Planted(baseline, incoming, on, *directions)
