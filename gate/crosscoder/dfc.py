"""Using a trained DFC: which latents fire where, and what each contributes to the residual streams.

Shapes: N positions, F latents, n latents of one block, d width (a: baseline, b: incoming; D = da + db), M firing entries.

A DFC is the sum of three blocks that share one threshold: baseline-exclusive latents read and write the baseline's columns of
the concatenated activations, incoming-exclusive latents the incoming's, shared latents both. Working block by block keeps the
shared weights concatenated (one matrix product instead of two) without a single parameter that may not be used.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gate.crosscoder.types import DFC, Normaliser
    from gate.schema import Side

# Scores computed at a time: 16 MB in float32, which still fits a last-level cache and bounds memory for wide dictionaries.
SCORES_AT_A_TIME = 1 << 22


class Block(NamedTuple):
    """Latents that own the same sides. `columns` are theirs in the concatenated activations, `first` is their first latent."""

    encoder_nd: Tensor
    decoder_nd: Tensor
    bias_n: Tensor
    columns: slice
    first: int
    sides: int  # how many sides the latents own, 1 or 2

    def norm_n(self) -> Tensor:
        """RMS over the owned sides of the decoder row norms: what makes latents of different kinds comparable."""
        return torch.linalg.vector_norm(self.decoder_nd, dim=1) / self.sides**0.5


class Entries(NamedTuple):
    """Firing entries of one block, ordered by row and then column: row, column within the block, score (activation x norm)."""

    row_M: Tensor
    column_M: Tensor
    score_M: Tensor


class Codes(NamedTuple):
    """Sparse activations [positions, latents], ordered by position and then latent within each kind of latent."""

    rows: Tensor  # [M] positions
    cols: Tensor  # [M] latents
    values: Tensor  # [M] activations, > 0
    positions: int
    latents: int

    def dense(self) -> Tensor:
        """All activations [positions, latents]: 4 bytes x positions x latents of memory."""
        out = torch.zeros(self.positions, self.latents, dtype=self.values.dtype, device=self.values.device)
        out[self.rows, self.cols] = self.values
        return out

    def columns(self, latents: Sequence[int]) -> Tensor:
        """The activations of some latents [positions, len(latents)], in the order given."""
        where = torch.full((self.latents,), -1, dtype=torch.long, device=self.cols.device)
        where[torch.as_tensor(latents, dtype=torch.long, device=where.device)] = torch.arange(len(latents), device=where.device)
        column = where[self.cols]
        mine = column >= 0
        out = torch.zeros(self.positions, len(latents), dtype=self.values.dtype, device=self.values.device)
        out[self.rows[mine], column[mine]] = self.values[mine]
        return out

    def fired(self) -> Tensor:
        """How many positions each latent fires at [latents]."""
        return torch.bincount(self.cols, minlength=self.latents)


@contextmanager
def full_precision() -> Iterator[None]:
    """Full float32 products inside: a harvest may have lowered the process-wide setting, and results must not depend on that."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def blocks(dfc: DFC) -> list[Block]:
    """The non-empty blocks of a DFC, in the order of its latents."""
    nb, ns, da = dfc.baseline_exclusive, dfc.shared, dfc.enc_baseline.shape[1]
    shared_encoder = torch.cat([dfc.enc_baseline[nb:], dfc.enc_incoming[:ns]], 1)
    shared_decoder = torch.cat([dfc.dec_baseline[nb:], dfc.dec_incoming[:ns]], 1)
    bias = dfc.enc_bias
    found = [
        Block(dfc.enc_baseline[:nb], dfc.dec_baseline[:nb], bias[:nb], slice(0, da), 0, 1),
        Block(shared_encoder, shared_decoder, bias[nb : nb + ns], slice(0, da + dfc.enc_incoming.shape[1]), nb, 2),
        Block(dfc.enc_incoming[ns:], dfc.dec_incoming[ns:], bias[nb + ns :], slice(da, None), nb + ns, 1),
    ]
    return [block for block in found if len(block.bias_n)]


def normalised(norm: Normaliser, x_Nd: Tensor) -> Tensor:
    """Activations of one side on the DFC's scale, float32 unless they are float64, on the normaliser's device."""
    return (x_Nd.to(norm.mean) - norm.mean) / norm.scale


def indices_above(score_BF: Tensor, bound: float) -> Tensor:
    """Flat indices of the scores above `bound`, ascending."""
    above = score_BF > bound
    if score_BF.device.type == "cpu":  # numpy's search for set flags is four times as fast as torch's
        return torch.from_numpy(np.flatnonzero(above.numpy()))
    return above.view(-1).nonzero().view(-1)


def entries_above(block: Block, x_BD: Tensor, bound: float) -> Entries:
    """Entries of a block whose score exceeds `bound` >= 0, for centred activations (normalised, minus the decoder bias)."""
    norm_n = block.norm_n()
    folded_dn, bias_n = (block.encoder_nd * norm_n[:, None]).T, block.bias_n * norm_n  # relu(pre) * norm = relu(pre * norm)
    n, step = len(norm_n), max(1, SCORES_AT_A_TIME // len(norm_n))
    index, score = [], []
    for start in range(0, len(x_BD), step):
        score_Bn = torch.addmm(bias_n, x_BD[start : start + step, block.columns], folded_dn)
        above = indices_above(score_Bn, bound)
        score.append(score_Bn.view(-1).index_select(0, above))
        index.append(above + start * n)
    flat = torch.cat(index)
    row = torch.div(flat, n, rounding_mode="floor")
    return Entries(row, flat - row * n, torch.cat(score))


def weighted_rows(rows_nd: Tensor, index_M: Tensor, start_B1: Tensor, weight_M: Tensor) -> Tensor:
    """out[b] = sum of weight[m] * rows[index[m]] over start[b] <= m < start[b + 1]: a CSR matrix times a dense one.

    torch's embedding_bag does this three times as fast as its sparse CSR product, in a fixed order of summation.
    """
    return functional.embedding_bag(
        index_M, rows_nd.contiguous(), start_B1, mode="sum", per_sample_weights=weight_M, include_last_offset=True
    )


def _centred(dfc: DFC, baseline_Na: Tensor, incoming_Nb: Tensor) -> Tensor:
    """Both sides normalised, minus the decoder bias, side by side [N, D]."""
    old = normalised(dfc.norm_baseline, baseline_Na) - dfc.bias_baseline
    new = normalised(dfc.norm_incoming, incoming_Nb) - dfc.bias_incoming
    return torch.cat([old, new], 1)


def _chunks(dfc: DFC, baseline_Na: Tensor, incoming_Nb: Tensor, chunk: int) -> Iterator[tuple[int, Tensor]]:
    """(first position, centred activations) of consecutive chunks: only these are ever held in float32."""
    if len(baseline_Na) != len(incoming_Nb):
        raise ValueError(f"{len(baseline_Na)} baseline positions against {len(incoming_Nb)} incoming ones")
    for start in range(0, len(baseline_Na), chunk):
        yield start, _centred(dfc, baseline_Na[start : start + chunk], incoming_Nb[start : start + chunk])


@torch.no_grad()
def encode_sparse(dfc: DFC, baseline_Na: Tensor, incoming_Nb: Tensor, chunk: int = 4096) -> Codes:
    """All activations above the frozen threshold, as (position, latent, value) entries.

    Activations are in the models' own units and may be of any float type; results are on the DFC's device.
    """
    parts, rows, cols, values = blocks(dfc), [], [], []
    with full_precision():
        norms = [block.norm_n() for block in parts]
        for start, x_BD in _chunks(dfc, baseline_Na, incoming_Nb, chunk):
            for block, norm_n in zip(parts, norms, strict=True):
                found = entries_above(block, x_BD, dfc.threshold)
                rows.append(found.row_M + start)
                cols.append(found.column_M + block.first)
                values.append(found.score_M / norm_n[found.column_M])
    empty = torch.zeros(0, dtype=torch.long, device=dfc.enc_bias.device)
    return Codes(
        torch.cat([*rows, empty]), torch.cat([*cols, empty]), torch.cat([*values, empty.to(dfc.enc_bias)]),
        len(baseline_Na), dfc.latents,
    )  # fmt: skip


def encode(dfc: DFC, baseline_Na: Tensor, incoming_Nb: Tensor, chunk: int = 4096) -> Tensor:
    """All activations above the frozen threshold, dense [N, F]. `encode_sparse` needs a small part of the memory."""
    return encode_sparse(dfc, baseline_Na, incoming_Nb, chunk).dense()


@torch.no_grad()
def reconstruct(dfc: DFC, codes: Codes) -> tuple[Tensor, Tensor]:
    """Both sides' residuals rebuilt from their activations, in the models' own units: [N, da] and [N, db]."""
    da, db = len(dfc.bias_baseline), len(dfc.bias_incoming)
    out_ND = torch.cat([dfc.bias_baseline, dfc.bias_incoming]).repeat(codes.positions, 1)
    for block in blocks(dfc):
        mine = (codes.cols >= block.first) & (codes.cols < block.first + len(block.bias_n))
        row, order = torch.sort(codes.rows[mine], stable=True)
        start = torch.searchsorted(row, torch.arange(codes.positions + 1, device=row.device))
        out_ND[:, block.columns] += weighted_rows(
            block.decoder_nd, codes.cols[mine][order] - block.first, start, codes.values[mine][order]
        )
    old, new = out_ND.split([da, db], 1)
    a, b = dfc.norm_baseline, dfc.norm_incoming
    return old * a.scale + a.mean, new * b.scale + b.mean


def _rows_of(dfc: DFC, side: Side, latents: Sequence[int], exclusive: bool) -> Tensor:
    """Rows of one side's matrices that belong to `latents`; ValueError for a latent the side does not own (alone)."""
    nb, ns = dfc.baseline_exclusive, dfc.shared
    low, high = (0, nb if exclusive else nb + ns) if side == "baseline" else (nb + ns if exclusive else nb, dfc.latents)
    for latent in latents:
        if not low <= latent < high:
            raise ValueError(f"latent {latent} is not {'exclusive to' if exclusive else 'owned by'} the {side} side")
    first = 0 if side == "baseline" else nb
    return torch.tensor([latent - first for latent in latents], dtype=torch.long, device=dfc.enc_bias.device)


@torch.no_grad()
def one_sided(dfc: DFC, side: Side, x_Nd: Tensor, latents: Sequence[int]) -> Tensor:
    """Activations [N, len(latents)] of latents exclusive to `side`, from that side's activations alone.

    Exact, because an exclusive latent reads only its own side. ValueError for any other latent.
    """
    row = _rows_of(dfc, side, latents, exclusive=True)
    old = side == "baseline"
    norm, shift = (dfc.norm_baseline, dfc.bias_baseline) if old else (dfc.norm_incoming, dfc.bias_incoming)
    encoder_nd, decoder_nd = ((dfc.enc_baseline, dfc.dec_baseline) if old else (dfc.enc_incoming, dfc.dec_incoming))
    bias_n = dfc.enc_bias[row if old else row + dfc.baseline_exclusive]
    norm_n = torch.linalg.vector_norm(decoder_nd[row], dim=1)
    with full_precision():
        score_Nn = torch.addmm(bias_n * norm_n, normalised(norm, x_Nd) - shift, (encoder_nd[row] * norm_n[:, None]).T)
    return torch.where(score_Nn > dfc.threshold, score_Nn / norm_n, 0.0)


def decoder_rows(dfc: DFC, side: Side, latents: Sequence[int]) -> Tensor:
    """Decoder rows [len(latents), d] of one side in the model's own units: activation x row is the latent's contribution.

    ValueError for a latent that does not write to `side`.
    """
    row = _rows_of(dfc, side, latents, exclusive=False)
    if side == "baseline":
        return dfc.dec_baseline[row] * dfc.norm_baseline.scale
    return dfc.dec_incoming[row] * dfc.norm_incoming.scale
