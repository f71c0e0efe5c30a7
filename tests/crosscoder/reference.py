"""The DFC's training loss, written densely for autograd: what the sparse step must reproduce.

Shapes: B positions, F latents, a/b the sides' widths. Every formula is the published one, with the whole [B, F] matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Dense(NamedTuple):
    """The weights of a DFC, each side with the rows it owns; latents ordered [baseline | shared | incoming]."""

    enc_a: torch.Tensor
    enc_b: torch.Tensor
    enc_bias: torch.Tensor
    dec_a: torch.Tensor
    dec_b: torch.Tensor
    bias_a: torch.Tensor
    bias_b: torch.Tensor


def activations(w: Dense, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """relu(pre) and the selection score relu(pre) * RMS over the owned sides of the decoder row norms, both [B, F]."""
    na, nb, latents = len(w.enc_a), len(w.enc_b), len(w.enc_bias)
    pre = w.enc_bias.expand(len(a), latents).clone()
    pre[:, :na] += (a - w.bias_a) @ w.enc_a.T
    pre[:, latents - nb :] += (b - w.bias_b) @ w.enc_b.T
    square, sides = torch.zeros(2, latents, dtype=pre.dtype)
    square[:na] += w.dec_a.detach().square().sum(1)
    square[latents - nb :] += w.dec_b.detach().square().sum(1)
    sides[:na] += 1
    sides[latents - nb :] += 1
    f = pre.relu()
    return f, f.detach() * (square / sides).sqrt()


def decode(w: Dense, f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sides' reconstructions without the decoder bias."""
    return f[:, : len(w.dec_a)] @ w.dec_a, f[:, f.shape[1] - len(w.dec_b) :] @ w.dec_b


def reference_loss(
    w: Dense, a: torch.Tensor, b: torch.Tensor, keep: int, dead: torch.Tensor, aux_k: int, aux_weight: float, aux_rows: int
) -> torch.Tensor:
    """Sum over the sides of the batch's FVU, plus AuxK on the first `aux_rows` rows."""
    f, score = activations(w, a, b)
    lowest = score.flatten().topk(keep).values.min()
    hat_a, hat_b = decode(w, f * ((score >= lowest) & (score > 0)))
    error_a, error_b = hat_a + w.bias_a - a, hat_b + w.bias_b - b
    loss = error_a.square().sum() / (a - a.mean(0)).square().sum() + error_b.square().sum() / (b - b.mean(0)).square().sum()
    if not dead.any():
        return loss
    f, score = f[:aux_rows], score[:aux_rows]
    best = torch.where(dead, score, -1.0).topk(min(aux_k, int(dead.sum())), 1).indices
    aux_a, aux_b = decode(w, torch.zeros_like(f).scatter(1, best, f.gather(1, best)))
    for aux, error in ((aux_a, error_a), (aux_b, error_b)):
        target = -error[:aux_rows].detach()
        loss = loss + aux_weight * (aux - target).square().sum() / target.square().sum()
    return loss
