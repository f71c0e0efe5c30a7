"""A DFC as dfc_learning trains it: the real library, from a checkout beside this one, on the same paired activations."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.crosscoder_speed import Peer
from benchmarks.gatebench.beside_matching import Dictionary
from gate.crosscoder.dfc import Codes
from gate.crosscoder.types import DFCConfig

THRESHOLD_POSITIONS = 1 << 14
CHUNK = 1024


class TrainedPeer:
    """dfc_learning's DFC and trainer with its own defaults, except where `benchmarks.crosscoder_speed.Peer` says otherwise.

    Its codes are those above a frozen threshold, the score that k entries per training position exceed, as ours are: its own
    threshold is set only after 1,000 steps, and its BatchTopK would make a code depend on the batch that it comes in.
    """

    def __init__(self, path: Path, sides: list[Tensor], config: DFCConfig, learning_rate: float | None = None) -> None:
        self.widths = [side.shape[1] for side in sides]
        peer = Peer(path, [side.float() for side in sides], config, learning_rate)
        for step in range(config.steps):
            peer.step(step)
        self.learning_rate = peer.trainer.lr
        self.ae = peer.trainer.ae.eval()
        picks = torch.arange(0, len(peer.x_N2d), -(-len(peer.x_N2d) // THRESHOLD_POSITIONS))
        self._freeze(peer.x_N2d[picks], config.k)

    @torch.no_grad()
    def _freeze(self, x_N2d: Tensor, k: int) -> None:
        self.ae.threshold.fill_(0.0)
        scaled = [self.ae.encode(x, return_active=True)[1].flatten() for x in torch.split(x_N2d, CHUNK)]
        score_M = torch.cat([part[part > 0] for part in scaled])
        if len(score_M) > k * len(x_N2d):
            self.ae.threshold.fill_(float(score_M.kthvalue(len(score_M) - k * len(x_N2d)).values))

    @torch.no_grad()
    def dictionary(self, sides: list[Tensor]) -> Dictionary:
        """Encode activations in the models' own units."""
        x_N2d = Peer.stacked([side.float() for side in sides])
        rows, cols, values = [], [], []
        for start in range(0, len(x_N2d), CHUNK):
            f = self.ae.encode(x_N2d[start : start + CHUNK], use_threshold=True)
            row, col = f.nonzero(as_tuple=True)
            rows.append(row + start)
            cols.append(col)
            values.append(f[row, col])
        # the decoder is linear, so this is what a unit of activation adds, through its own denormaliser
        unit_F2d = self.ae.decode(torch.eye(self.ae.dict_size)) - self.ae.decode(torch.zeros(1, self.ae.dict_size))
        latents, partition = torch.arange(self.ae.dict_size), self.ae.partition
        return Dictionary(
            Codes(torch.cat(rows), torch.cat(cols), torch.cat(values)),
            unit_F2d[:, 0, : self.widths[0]],
            unit_F2d[:, 1, : self.widths[1]],
            (1.0, 1.0),
            torch.isin(latents, partition.model_a_indices).numpy(),
            torch.isin(latents, partition.model_b_indices).numpy(),
        )
