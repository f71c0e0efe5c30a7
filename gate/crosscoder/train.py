"""Training a DFC on paired residuals.

Shapes: N positions, B batch, F latents, d width of one side (a: baseline, b: incoming), D = da + db.

What differs from the published recipe (arXiv 2602.11729), and why, is in docs/crosscoder.md: latents are selected by the RMS
over the sides they own, AuxK starts after tens of steps, positions are drawn in proportion to their surprise, and both sides
weigh the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.optim.adam import adam

from gate.crosscoder.dfc import Block, Scratch, entries_above, full_precision, scored
from gate.crosscoder.step import TINY, Aux, Gradients, gradients, kth_largest, select
from gate.crosscoder.types import DFC, DFCConfig, Normaliser
from gate.errors import EngineError, IncomparableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

# RMS over the owned sides of every initial decoder row, on the scale where activations have unit mean square. Exclusive rows
# start larger: so they are selected, and specialise, before shared latents do it for them.
SHARED_NORM, EXCLUSIVE_NORM = 0.2, 0.4
PREFILTER = 0.9  # entries below this share of the last step's lowest kept score are not ranked
WARM_DOWN = 0.2  # last share of the steps, in which the learning rate falls to zero
MAX_GRADIENT = 1.0
SURPRISE_CLIP = 5.0  # nats
INITIAL_POSITIONS = 1 << 14  # at most so many training positions, evenly spaced, start the exclusive latents
RIDGE = 0.01  # of the mean variance
THRESHOLD_POSITIONS = 1 << 18  # at most so many training positions, evenly spaced, set the frozen threshold


def train_dfc(
    baseline_ND: Tensor,
    incoming_ND: Tensor,
    surprise_N: Tensor,
    config: DFCConfig,
    train_mask_N: Tensor | None = None,
    tick: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
) -> DFC:
    """Train a DFC on paired residuals, [N, da] and [N, db] in the models' own units, of any float type.

    surprise_N [N] in nats weights the sampling. train_mask_N [N]: positions to train on (default all); the normalisers and the
    threshold come from them alone. tick(1) is called after every step. `device` defaults to the activations'; the same seed
    gives the same bytes on one machine with the same number of threads.

    Raises IncomparableError without a training position, EngineError for activations that are not finite, UsageError when
    config.k exceeds the latents.
    """
    if config.k > config.latents:
        raise UsageError(f"the crosscoder's k ({config.k}) exceeds its latents ({config.latents})", "lower k")
    if not len(baseline_ND) == len(incoming_ND) == len(surprise_N):
        raise ValueError(f"{len(baseline_ND)}, {len(incoming_ND)} and {len(surprise_N)} positions do not pair up")
    index_N = torch.arange(len(baseline_ND)) if train_mask_N is None else train_mask_N.cpu().nonzero().view(-1)
    if not len(index_N):
        raise IncomparableError("no aligned position to train the crosscoder on", "give texts that both models can read")
    data = _Data(baseline_ND, incoming_ND, index_N, torch.device(device) if device else baseline_ND.device)
    with full_precision(), torch.no_grad():
        generator = torch.Generator().manual_seed(config.seed)
        weight_N = sampling_weights(surprise_N[index_N.to(surprise_N.device)], config.surprise_weight)
        parts, shift_D = _initial(data, config, weight_N, generator)
        lowest = _optimise(parts, shift_D, data, weight_N, config, generator, tick)
        threshold = _threshold(parts, shift_D, data, config.k, lowest)
    return _assemble(parts, shift_D, threshold, data, config)


class _Data:
    """The training positions of both sides, normalised batch by batch: no second copy of the activations is ever made."""

    def __init__(self, baseline_ND: Tensor, incoming_ND: Tensor, index_N: Tensor, device: torch.device) -> None:
        self.sides = (baseline_ND, incoming_ND)
        self.index_N = index_N
        self.device = device
        self.norms = (self._normaliser(baseline_ND, "baseline"), self._normaliser(incoming_ND, "incoming"))
        self.da = baseline_ND.shape[1]

    def _normaliser(self, x_ND: Tensor, name: str) -> Normaliser:
        """Mean and root mean square deviation over the training positions, accumulated in float64."""
        total, square = torch.zeros(x_ND.shape[1], dtype=torch.float64), 0.0
        for index in torch.split(self.index_N, 8192):
            total += x_ND[index.to(x_ND.device)].to("cpu", torch.float64).sum(0)
        mean = total / len(self.index_N)
        for index in torch.split(self.index_N, 8192):
            square += float((x_ND[index.to(x_ND.device)].to("cpu", torch.float64) - mean).square().sum())
        scale = math.sqrt(square / (len(self.index_N) * x_ND.shape[1]))
        if not math.isfinite(scale):
            raise EngineError(f"the {name} model's activations are not finite", "check the weights, or use a wider dtype")
        return Normaliser(mean.to(self.device, torch.float32), scale or 1.0)  # identical activations carry nothing to scale

    def batch(self, pick_B: Tensor, shift_D: Tensor) -> Tensor:
        """Some training positions, normalised and minus the decoder bias, both sides concatenated [B, D]."""
        index_B, out_BD = self.index_N[pick_B], torch.empty(len(pick_B), len(shift_D), device=self.device)
        for x_Nd, norm, columns in zip(self.sides, self.norms, (slice(0, self.da), slice(self.da, None)), strict=True):
            x_Bd = x_Nd.index_select(0, index_B.to(x_Nd.device)).to(shift_D)
            torch.add(-shift_D[columns] - norm.mean / norm.scale, x_Bd, alpha=1 / norm.scale, out=out_BD[:, columns])
        return out_BD


def _initial(data: _Data, config: DFCConfig, weight_N: Tensor, generator: torch.Generator) -> tuple[list[Block], Tensor]:
    """Encoder and decoder tied, every row no biases; rows start where there is something to explain.

    Shared latents start at training positions, both sides' halves of one position. Exclusive latents start at what the other
    side does not linearly predict: started anywhere else, shared latents claim the directions that only one side has.
    """
    da, db = (side.shape[1] for side in data.sides)
    exclusive, shared = config.exclusive, config.latents - 2 * config.exclusive

    def block(w_nd: Tensor, columns: slice, first: int, sides: int) -> Block:
        w_nd = functional.normalize(w_nd) * (EXCLUSIVE_NORM if sides == 1 else SHARED_NORM * math.sqrt(sides))
        return Block(w_nd.clone(), w_nd.clone(), w_nd.new_zeros(len(w_nd)), columns, first, sides)

    shift_D = torch.zeros(da + db, device=data.device)
    start = data.batch(torch.randint(len(data.index_N), (shared,), generator=generator), shift_D)
    picks = torch.arange(0, len(data.index_N), -(-len(data.index_N) // INITIAL_POSITIONS))
    old, new = torch.split(data.batch(picks, shift_D), [da, db], 1)
    weight = weight_N[picks]
    parts = [
        block(_unpredicted(new, old, weight, exclusive, generator), slice(0, da), 0, 1),
        block(start, slice(0, da + db), exclusive, 2),
        block(_unpredicted(old, new, weight, exclusive, generator), slice(da, da + db), exclusive + shared, 1),
    ]
    return [part for part in parts if len(part.bias_n)], shift_D


def _unpredicted(source_Nd: Tensor, target_Ne: Tensor, weight_N: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows [count, e] of what a ridge regression on `source` leaves of `target`, drawn by their squares times `weight`."""
    gram = source_Nd.T @ source_Nd
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + TINY)
    rest_Ne: Tensor = target_Ne - source_Nd @ torch.linalg.solve(gram, source_Nd.T @ target_Ne)
    squares_N = rest_Ne.square().sum(1).double().cpu()
    return rest_Ne[draw((squares_N * weight_N).cumsum(0), count, generator).to(rest_Ne.device)]


def sampling_weights(surprise_N: Tensor, surprise_weight: float) -> Tensor:
    """How often each position is drawn, relative to one without surprise [N], float64 on the CPU."""
    return 1 + surprise_weight * surprise_N.cpu().double().clamp(0, SURPRISE_CLIP)


def draw(reach_N: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices [count], drawn with replacement in proportion to weights whose running sum is reach_N (float64)."""
    drawn = torch.rand(count, dtype=torch.float64, generator=generator) * reach_N[-1]
    index: Tensor = torch.searchsorted(reach_N, drawn, right=True).clamp_(max=len(reach_N) - 1)
    return index


def _optimise(
    parts: Sequence[Block],
    shift_D: Tensor,
    data: _Data,
    weight_N: Tensor,
    config: DFCConfig,
    generator: torch.Generator,
    tick: Callable[[int], None] | None,
) -> float:
    """Run all steps, in place. Returns the last step's lowest kept score."""
    reach_N = weight_N.cumsum(0)
    adam, scratch = _Adam([tensor for block in parts for tensor in block[:3]] + [shift_D]), Scratch()
    idle_F = torch.zeros(config.latents, dtype=torch.long, device=data.device)  # steps since a latent last fired
    lowest = 0.0
    for step in range(config.steps):
        x_BD = data.batch(draw(reach_N, config.batch, generator), shift_D)
        ready = [scored(block) for block in parts]
        kept, lowest = select(ready, x_BD, config.k * config.batch, PREFILTER * lowest, scratch)
        dead_F = idle_F > config.dead_after
        aux = Aux(dead_F, config.aux_k, config.aux_weight) if config.aux_k and bool(dead_F.any()) else None
        found = gradients(ready, x_BD, data.da, kept, aux)
        adam.step(found, config.learning_rate * min(1.0, (config.steps - step) / (config.steps * WARM_DOWN)))
        idle_F += 1
        for block, entries in zip(parts, kept, strict=True):
            idle_F[entries.column_M + block.first] = 0
        if tick:
            tick(1)
    return lowest


class _Adam:
    """Adam with gradients clipped to a total norm of MAX_GRADIENT, in one fused pass over the weights.

    torch's functional form, because the first use of its Optimizer class imports the compiler: seconds, in a tool that trains
    for seconds.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros((), device=p.device) for p in parameters]

    def step(self, found: Gradients, learning_rate: float) -> None:
        """Update the parameters in place. The gradients are overwritten."""
        grads = [tensor for block in found.blocks for tensor in block] + [found.shift_D]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
        adam(
            self.parameters, grads, self.mean, self.square, [], self.steps, fused=True,
            grad_scale=(norm / MAX_GRADIENT).clamp_min(1.0),  # the fused kernel divides the gradients by it
            amsgrad=False, beta1=0.9, beta2=0.999, lr=learning_rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip


def _threshold(parts: Sequence[Block], shift_D: Tensor, data: _Data, k: int, lowest: float) -> float:
    """The score that k entries per training position exceed, with the weights frozen.

    A running mean over training would lag behind the weights and reflect the weighted sampling; one more pass is exact.
    """
    picks = torch.arange(0, len(data.index_N), -(-len(data.index_N) // THRESHOLD_POSITIONS))
    wanted, ready, scratch = k * len(picks), [scored(block) for block in parts], Scratch()
    for bound in (0.7 * lowest, 0.0):
        scores = []
        for pick in torch.split(picks, 4096):
            x_BD = data.batch(pick, shift_D)
            scores += [entries_above(part, x_BD, bound, scratch).score_M for part in ready]
        score_M = torch.cat(scores)
        if len(score_M) > wanted:
            return kth_largest(score_M, wanted + 1)
    return 0.0  # fewer positive scores than wanted: every one fires


def _assemble(parts: Sequence[Block], shift_D: Tensor, threshold: float, data: _Data, config: DFCConfig) -> DFC:
    """The trained blocks as a DFC: each side gets the rows it owns."""
    nb = ni = config.exclusive
    da = data.da
    first = {part.first: part for part in parts}
    empty = Block(shift_D.new_zeros(0, len(shift_D)), shift_D.new_zeros(0, len(shift_D)), shift_D.new_zeros(0), slice(0), 0, 1)
    shared = first[nb]
    old = first[0] if nb else empty._replace(encoder_nd=empty.encoder_nd[:, :da], decoder_nd=empty.decoder_nd[:, :da])
    new = first[config.latents - ni] if ni else empty._replace(
        encoder_nd=empty.encoder_nd[:, da:], decoder_nd=empty.decoder_nd[:, da:]
    )  # fmt: skip
    return DFC(
        baseline_exclusive=nb,
        shared=len(shared.bias_n),
        incoming_exclusive=ni,
        enc_baseline=torch.cat([old.encoder_nd, shared.encoder_nd[:, :da]]),
        enc_incoming=torch.cat([shared.encoder_nd[:, da:], new.encoder_nd]),
        enc_bias=torch.cat([old.bias_n, shared.bias_n, new.bias_n]),
        dec_baseline=torch.cat([old.decoder_nd, shared.decoder_nd[:, :da]]),
        dec_incoming=torch.cat([shared.decoder_nd[:, da:], new.decoder_nd]),
        bias_baseline=shift_D[:da].clone(),
        bias_incoming=shift_D[da:].clone(),
        threshold=threshold,
        norm_baseline=data.norms[0],
        norm_incoming=data.norms[1],
    )
