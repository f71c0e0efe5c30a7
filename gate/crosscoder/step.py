"""One exact training step of the DFC: BatchTopK selection, the loss, and its gradients written out by hand.

Shapes: B positions of the batch, D = da + db both sides' widths, n latents of one block, M kept entries, R rows for AuxK.

Only k of thousands of latents are active, so all but the encoder's product is sparse. For a kept entry with activation
f = pre, and g = dL/dx_hat, with x the batch minus the decoder bias:

    dL/df      = <g[row], decoder[column]>                     at the kept entries only
    dL/decoder = f^T g        dL/encoder = (dL/df)^T x         CSR products over the transposed entries
    dL/dbias   = column sums of dL/df                          dL/d(decoder bias) = row sums of g - (dL/dbias) encoder

The last term is there because the encoder reads x minus the decoder bias. Which entries are kept is not differentiated. The
tests compare every gradient with autograd on a dense float64 reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from gate.crosscoder.dfc import Block, Entries, entries_above, weighted_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# AuxK looks at this many rows of the batch (rows are drawn at random, so the estimate is unbiased): its cost stays small.
AUX_ROWS = 512


class BlockGradient(NamedTuple):
    """Gradients of one block's weights."""

    encoder_nd: Tensor
    decoder_nd: Tensor
    bias_n: Tensor


class Gradients(NamedTuple):
    """The loss and its gradients: one `BlockGradient` per block, and the decoder bias of both sides."""

    blocks: list[BlockGradient]
    shift_D: Tensor
    loss: Tensor


def kth_largest(score_M: Tensor, k: int) -> float:
    """The k-th largest of at least k scores."""
    if score_M.device.type == "cpu":
        values = score_M.numpy()
        return float(np.partition(values, len(values) - k)[len(values) - k])
    return float(score_M.kthvalue(len(score_M) - k + 1).values)


def select(parts: Sequence[Block], x_BD: Tensor, keep: int, bound: float) -> tuple[list[Entries], float]:
    """BatchTopK: the `keep` highest positive scores of the batch over all blocks, and the lowest of them.

    Only entries above `bound` are ranked; when fewer than `keep` exceed it, all positive ones are. Ties are all kept.
    """
    found = [entries_above(part, x_BD, bound) for part in parts]
    if sum(len(entries.score_M) for entries in found) < keep and bound > 0:
        found = [entries_above(part, x_BD, 0.0) for part in parts]
    score_M = torch.cat([entries.score_M for entries in found])
    if len(score_M) <= keep:
        return found, float(score_M.min()) if len(score_M) else 0.0
    lowest = kth_largest(score_M, keep)
    kept = []
    for entries in found:
        index = (entries.score_M >= lowest).nonzero().view(-1)
        kept.append(Entries(*(column.index_select(0, index) for column in entries)))
    return kept, lowest


def _row_starts(sorted_M: Tensor, rows: int) -> Tensor:
    """CSR row pointers [rows + 1] for sorted row indices."""
    return torch.searchsorted(sorted_M, torch.arange(rows + 1, device=sorted_M.device, dtype=sorted_M.dtype))


def _sides(x_BD: Tensor, da: int) -> tuple[Tensor, Tensor]:
    """Sum of squares of each side."""
    old, new = x_BD.split([da, x_BD.shape[1] - da], 1)
    return old.square().sum(), new.square().sum()


def _per_column(old: Tensor, new: Tensor, da: int, width: int) -> Tensor:
    """One factor per side, spread over its columns [D]."""
    return torch.cat([old.expand(da), new.expand(width - da)])


def gradients(
    parts: Sequence[Block],
    shift_D: Tensor,
    x_BD: Tensor,
    kept: Sequence[Entries],
    da: int,
    dead_F: Tensor | None = None,
    aux_k: int = 0,
    aux_weight: float = 0.0,
) -> Gradients:
    """Loss and gradients for a normalised batch.

    loss = sum over the sides of the batch's fraction of variance unexplained + aux_weight * AuxK. `kept` comes from `select` on
    x - shift. dead_F [F] flags the latents that AuxK applies to; None when there are none.
    """
    rows, width = x_BD.shape
    centred_BD = x_BD - shift_D
    values = [(e.score_M / part.norm_n()[e.column_M]).requires_grad_() for part, e in zip(parts, kept, strict=True)]
    with torch.enable_grad():
        decoded = [
            weighted_rows(part.decoder_nd, e.column_M, _row_starts(e.row_M, rows), value)
            for part, e, value in zip(parts, kept, values, strict=True)
        ]
    error_BD = -centred_BD
    for part, out_Bd in zip(parts, decoded, strict=True):
        error_BD[:, part.columns] += out_Bd.detach()
    variance = [side.clamp_min(1e-12) for side in _sides(x_BD - x_BD.mean(0), da)]
    old, new = _sides(error_BD, da)
    loss = old / variance[0] + new / variance[1]
    g_BD = error_BD * _per_column(2 / variance[0], 2 / variance[1], da, width)
    # <g[row], decoder[column]> at the kept entries: torch has it only as the backward of embedding_bag's weights.
    df = torch.autograd.grad(decoded, values, [g_BD[:, part.columns].contiguous() for part in parts])
    out = []
    for part, e, value, df_M in zip(parts, kept, values, df, strict=True):
        column, order = torch.sort(e.column_M, stable=True)
        row, start = e.row_M[order], _row_starts(column, len(part.bias_n))
        df_sorted = df_M[order]
        out.append(
            BlockGradient(
                weighted_rows(centred_BD[:, part.columns], row, start, df_sorted),
                weighted_rows(g_BD[:, part.columns], row, start, value.detach()[order]),
                weighted_rows(torch.ones_like(centred_BD[:, :1]), row, start, df_sorted).view(-1),
            )
        )
    if dead_F is not None:
        loss = loss + _add_aux(parts, out, centred_BD[:AUX_ROWS], error_BD[:AUX_ROWS], da, dead_F, aux_k, aux_weight)
    shift_grad = g_BD.sum(0)
    for part, grad in zip(parts, out, strict=True):
        shift_grad[part.columns] -= grad.bias_n @ part.encoder_nd
    return Gradients(out, shift_grad, loss)


def _add_aux(
    parts: Sequence[Block],
    out: Sequence[BlockGradient],
    centred_RD: Tensor,
    error_RD: Tensor,
    da: int,
    dead_F: Tensor,
    aux_k: int,
    aux_weight: float,
) -> Tensor:
    """AuxK (arXiv 2406.04093): the aux_k best dead latents of each row explain its residual. Adds its gradients to `out`.

    The residual is a constant. Returns aux_weight * the sum over the sides of the share of the residual left unexplained.
    """
    dead = [dead_F[part.first : part.first + len(part.bias_n)].nonzero().view(-1) for part in parts]
    pre = [
        torch.addmm(part.bias_n[index], centred_RD[:, part.columns], part.encoder_nd[index].T)
        for part, index in zip(parts, dead, strict=True)
    ]
    active_Rn = torch.cat(pre, 1).relu_()
    if active_Rn.shape[1] > aux_k:
        score_Rn = active_Rn * torch.cat([part.norm_n()[index] for part, index in zip(parts, dead, strict=True)])
        best = score_Rn.topk(aux_k, 1, sorted=False).indices
        active_Rn = torch.zeros_like(active_Rn).scatter_(1, best, active_Rn.gather(1, best))
    active = active_Rn.split([len(index) for index in dead], 1)
    left_RD = error_RD.clone()  # what the dead latents leave unexplained: x_hat - x + their own contribution
    for part, index, active_Rd in zip(parts, dead, active, strict=True):
        left_RD[:, part.columns] += active_Rd @ part.decoder_nd[index]
    whole = [side.clamp_min(1e-12) for side in _sides(error_RD, da)]
    old, new = _sides(left_RD, da)
    factor_D = _per_column(2 * aux_weight / whole[0], 2 * aux_weight / whole[1], da, left_RD.shape[1])
    g_RD = left_RD * factor_D
    for part, grad, index, active_Rd in zip(parts, out, dead, active, strict=True):
        g_Rd, decoder = g_RD[:, part.columns], part.decoder_nd[index]
        dpre_Rd = (g_Rd @ decoder.T) * (active_Rd > 0)
        grad.decoder_nd[index] += active_Rd.T @ g_Rd
        grad.encoder_nd[index] += dpre_Rd.T @ centred_RD[:, part.columns]
        grad.bias_n[index] += dpre_Rd.sum(0)
    return aux_weight * (old / whole[0] + new / whole[1])
