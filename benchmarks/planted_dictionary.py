"""Recall and precision of exclusive features, on activations whose features are known.

    OMP_NUM_THREADS=1 python -m benchmarks.planted_dictionary [--peer PEER] [--seeds 0 1 2] [--json FILE] [--quick]

**Data.** 140 sparse sources on random directions: 120 shared, 10 seen by the baseline alone, 10 by the incoming model alone; so
130 directions in 64 or 96 dimensions. About 6 are on at a position, at rates that fall as rank^-0.7 in random order, with
strengths between 0.5 and 1.5; noise is added. *independent*: each source on its own. *correlated*: sources come in groups of
five that are on together, and half of the exclusive sources are children of a shared source: on half of the times that it is,
and never without it.

**Methods**, all with 256 latents, k 8, batch 512 and 600 steps on the same 20,000 positions, float32:

- *gate*: `train_dfc` with the product's defaults (5% of the latents exclusive to each side: 13 for 10 sources). No surprise.
- *dfc_learning* (with --peer, and einops): its own DFC, losses and trainer; what it is given beyond its defaults is said in
  `benchmarks/crosscoder_speed.py`: its own normaliser fitted on the data, warm-up over a twentieth of the steps and decay over
  the last fifth (the defaults exceed the run), padding to equal widths; and a frozen threshold like ours in place of one that
  is set after 1,000 steps. Its learning rate is its automatic one unless --peer-lr says otherwise.
- *standard*: a BatchTopK crosscoder, our trainer without exclusive latents.

**Scoring**, on 8,000 held-out positions. Candidates are (latent, side) for every latent whose mass (summed activation
times decoder norm) is at least a tenth of the mean: one that hardly fires is no feature. They are ranked by the share
of the latent's decoder norm on that side (each side in units of its root mean square; 1 for a dedicated latent), ties
by mass. Those with a twin (`gate.features.exclusivity.twins`: a latent with a third of its norm on the other side fires
with it, at a correlation of 0.8) come after all others, whatever the method. Down the ranking, a candidate is a hit if
it claims a source exclusive to that side which no candidate claimed before: cosine of decoder row and direction at
least 0.8, and Pearson correlation of activation and strength at least 0.7; of several the one with the highest product.
Everything else is a miss, a second latent for a source too.

- *recall at 80%*: the most sources claimed by any prefix of the ranking whose precision is at least 80%.
- *called*: hits among the candidates that the method calls exclusive: the dedicated latents that fire; for the standard
  crosscoder as many per side as a DFC has, those with the highest share.
- *found*: sources that any latent at all matches, exclusive or not.
- *AP*: average precision, the mean over sources of the precision at which each is claimed (0 for those that are not).

Intervals are Clopper-Pearson over sources; sources of one run share a training, so they are somewhat too narrow. FVU is the
variance left by the sparse codes with the best constant, over that of the activations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from benchmarks.gatebench.beside_matching import Dictionary, dictionary_of
from benchmarks.gatebench.beside_texts import Bools, Floats
from benchmarks.gatebench.roc import Count
from gate.crosscoder.train import train_dfc
from gate.crosscoder.types import DFCConfig
from gate.features.exclusivity import TWIN, twins

SHARED, EXCLUSIVE, ACTIVE, NOISE, SKEW = 120, 10, 6.0, 0.05, 0.7
TRAINING, HELD_OUT = 20_000, 8_000
GROUP, CHILD_RATE = 5, 0.5
MIN_COSINE, MIN_CORRELATION, PRECISION, LEAST_MASS = 0.8, 0.7, 0.8, 0.1
WRITES = 1 / 3  # share of its decoder norm from which a latent writes to a side
WORLDS = [(64, 64, False), (64, 64, True), (64, 96, True), (96, 64, True)]

Trainer = Callable[[list[Tensor], list[Tensor], DFCConfig], Dictionary]


class World(NamedTuple):
    """Activations of both sides [N, d], strengths of all sources [N, S], and their directions per side (0: unseen).

    Sources are ordered [shared | baseline's | incoming's].
    """

    sides: list[Tensor]
    strength_NS: Tensor
    directions: list[Tensor]


@dataclass(frozen=True)
class Result:
    """One method on one world and seed."""

    world: str
    method: str
    seed: int
    sources: int
    at_precision: int
    called: int
    called_hits: int
    found: int
    average_precision: float
    fvu: tuple[float, float]
    l0: float
    seconds: float


def plant(n: int, widths: tuple[int, int], correlated: bool, seed: int, shared: int = SHARED, own: int = EXCLUSIVE) -> World:
    """Sparse sources in superposition."""
    g = torch.Generator().manual_seed(seed)
    total = shared + 2 * own
    rate_S = torch.arange(1, total + 1).float().pow(-SKEW)[torch.randperm(total, generator=g)]
    rate_S = (rate_S * ACTIVE / rate_S.sum()).clamp_max(0.5)
    draw_NS = torch.rand(n, total, generator=g)
    on_NS = draw_NS < rate_S
    if correlated:
        for members in torch.split(torch.randperm(total, generator=g), GROUP):
            together = float((2 * rate_S[members].max()).clamp_max(1))
            event_N1 = torch.rand(n, 1, generator=g) < together
            on_NS[:, members] = event_N1 & (draw_NS[:, members] < rate_S[members] / together)
        children = torch.cat([torch.arange(shared, shared + own)[::2], torch.arange(shared + own, total)[::2]])
        parents = torch.randperm(shared, generator=g)[: len(children)]
        on_NS[:, children] = on_NS[:, parents] & (draw_NS[:, children] < CHILD_RATE)
    strength_NS = on_NS * (torch.rand(n, total, generator=g) + 0.5)
    directions = [torch.nn.functional.normalize(torch.randn(total, width, generator=g)) for width in widths]
    directions[0][shared + own :] = 0
    directions[1][shared : shared + own] = 0
    sides = [strength_NS @ rows + NOISE * torch.randn(n, rows.shape[1], generator=g) for rows in directions]
    return World(sides, strength_NS, directions)


def gate_dfc(train: list[Tensor], held: list[Tensor], config: DFCConfig) -> Dictionary:
    """Ours."""
    return dictionary_of(train_dfc(train[0], train[1], torch.zeros(len(train[0])), config), held[0], held[1])


def standard(train: list[Tensor], held: list[Tensor], config: DFCConfig) -> Dictionary:
    """A BatchTopK crosscoder: all latents shared."""
    plain = config.model_copy(update={"exclusive_share": 0.0})
    dfc = train_dfc(train[0], train[1], torch.zeros(len(train[0])), plain)
    return dictionary_of(dfc, held[0], held[1], config.exclusive)


def peer_dfc(path: Path, learning_rate: float | None) -> Trainer:
    """dfc_learning's."""
    from benchmarks.gatebench.beside_peer import TrainedPeer

    return lambda train, held, config: TrainedPeer(path, train, config, learning_rate).dictionary(held)


class Candidates(NamedTuple):
    """Every (latent, side) that fires, best first. match [C, S]: cosine x correlation where both suffice, else 0, with the
    sources exclusive to that side alone; any_S: sources that some latent matches, whatever its rank.
    """

    match_CS: Floats
    called_C: Bools
    any_S: Bools


def candidates(dictionary: Dictionary, world: World, own: int = EXCLUSIVE) -> Candidates:
    """Rank and match."""
    codes, n = dictionary.codes, len(world.strength_NS)
    decoders = [dictionary.decoder_baseline, dictionary.decoder_incoming]
    latents, shared = len(decoders[0]), world.strength_NS.shape[1] - 2 * own
    rows, cols, values = (part.numpy() for part in codes)
    acts = sparse.csr_matrix((values.astype(np.float64), (rows, cols)), shape=(n, latents))
    correlation_FS = _correlation(acts, world.strength_NS.double().numpy())
    scales = [float((x - x.mean(0)).square().mean().sqrt()) for x in world.sides]
    norms = [np.linalg.norm(d.double().numpy(), axis=1) * s for d, s in zip(decoders, dictionary.scales, strict=True)]
    norms = [norm / scale for norm, scale in zip(norms, scales, strict=True)]
    total_F = np.maximum(norms[0] + norms[1], 1e-12)
    mass_F = np.asarray(acts.sum(0)).ravel()
    both = np.concatenate([mass_F * norm for norm in norms])
    least = LEAST_MASS * both[both > 0].mean()
    keys, matches, called = [], [], []
    for side, (decoder, flags) in enumerate(zip(decoders, (dictionary.removed, dictionary.added), strict=True)):
        unit_Fd = torch.nn.functional.normalize(decoder.double()).numpy()
        cosine_FS = unit_Fd @ world.directions[side].double().numpy().T
        good = (cosine_FS >= MIN_COSINE) & (correlation_FS >= MIN_CORRELATION)
        match_FS = np.where(good, cosine_FS * correlation_FS, 0.0)
        first = shared + side * own
        match_FS[:, :first], match_FS[:, first + own :] = 0.0, 0.0
        alive = mass_F * norms[side] >= least
        twin_F = np.array(twins(acts, list(range(latents)), norms[1 - side] / total_F >= WRITES)) >= TWIN
        keys.append(np.stack([(norms[side] / total_F)[alive], (mass_F * norms[side])[alive], twin_F[alive]]))
        matches.append(match_FS[alive])
        called.append(flags[alive])
    share_C, mass_C, twin_C = np.concatenate(keys, axis=1)
    order = np.lexsort((-mass_C, -np.round(share_C, 6), twin_C))
    match_CS = np.concatenate(matches)[order]
    return Candidates(match_CS, np.concatenate(called)[order], match_CS.any(0)[shared:])


def _correlation(acts: sparse.csr_matrix, strength_NS: Floats) -> Floats:
    n = acts.shape[0]
    mean_F, mean_S = np.asarray(acts.mean(0)).ravel(), strength_NS.mean(0)
    var_F = np.asarray(acts.multiply(acts).mean(0)).ravel() - mean_F**2
    covariance_FS = np.asarray(acts.T @ strength_NS) / n - np.outer(mean_F, mean_S)
    return covariance_FS / np.sqrt(np.maximum(np.outer(var_F, strength_NS.var(0)), 1e-18))


def hits_of(match_CS: Floats) -> Bools:
    """Down the ranking: which candidates claim a source that none before them did."""
    free_S, hits = np.ones(match_CS.shape[1], dtype=bool), np.zeros(len(match_CS), dtype=bool)
    for i, row in enumerate(match_CS):
        best = int(np.argmax(row * free_S))
        if row[best] > 0 and free_S[best]:
            hits[i], free_S[best] = True, False
    return hits


def curve(hits_C: Bools, sources: int) -> tuple[int, float]:
    """Sources claimed at a precision of at least PRECISION, and the average precision."""
    claimed = np.cumsum(hits_C)
    precision = claimed / np.arange(1, len(hits_C) + 1)
    return int(claimed[precision >= PRECISION].max(initial=0)), float(precision[hits_C].sum() / sources)


def fvu(dictionary: Dictionary, sides: Sequence[Tensor]) -> tuple[float, float]:
    """Fraction of variance unexplained of both sides."""
    rows, cols, values = (part.numpy() for part in dictionary.codes)
    left = []
    decoders = (dictionary.decoder_baseline, dictionary.decoder_incoming)
    for x, decoder, scale in zip(sides, decoders, dictionary.scales, strict=True):
        acts = sparse.csr_matrix((values, (rows, cols)), shape=(len(x), len(decoder)))
        rest = x.double().numpy() - acts @ (decoder.double().numpy() * scale)
        left.append(float(rest.var(0).sum() / x.double().numpy().var(0).sum()))
    return left[0], left[1]


def evaluate(name: str, method: str, seed: int, world: World, train: list[Tensor], run: Trainer, config: DFCConfig) -> Result:
    """Train, and judge on held-out positions."""
    started = time.process_time()
    dictionary = run(train, world.sides, config)
    seconds = time.process_time() - started
    ranked = candidates(dictionary, world)
    hits, sources = hits_of(ranked.match_CS), 2 * EXCLUSIVE
    at_precision, average = curve(hits, sources)
    called = hits_of(ranked.match_CS[ranked.called_C])
    return Result(
        name, method, seed, sources, at_precision, len(called), int(called.sum()), int(ranked.any_S.sum()),
        average, fvu(dictionary, world.sides), len(dictionary.codes.rows) / len(world.sides[0]), seconds,
    )  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """One row per world and method."""
    lines = [
        "| world | method | recall at 80% precision | called: hits of latents | found | AP | FVU | L0 | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for world, method in dict.fromkeys((r.world, r.method) for r in results):
        mine = [r for r in results if (r.world, r.method) == (world, method)]
        n = sum(r.sources for r in mine)
        called = f"{sum(r.called_hits for r in mine)} of {sum(r.called for r in mine)}"
        left = ", ".join(f"{np.mean([r.fvu[side] for r in mine]):.3f}" for side in (0, 1))
        cells = [
            world, method, Count(sum(r.at_precision for r in mine), n).text(), called, f"{sum(r.found for r in mine)} of {n}",
            f"{np.mean([r.average_precision for r in mine]):.2f}", left, f"{np.mean([r.l0 for r in mine]):.1f}",
            f"{np.mean([r.seconds for r in mine]):.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of dfc_learning")
    parser.add_argument("--peer-lr", type=float, help="the peer's learning rate (default: its automatic one)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument(
        "--quick", action="store_true", help="one seed, one world of equal and one of unequal widths, 150 steps"
    )
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    methods: dict[str, Trainer] = {"gate": gate_dfc, "standard": standard}
    if args.peer:
        methods["dfc_learning"] = peer_dfc(args.peer, args.peer_lr)
    seeds, steps, worlds = (args.seeds[:1], 150, WORLDS[1:3]) if args.quick else (args.seeds, args.steps, WORLDS)
    results = []
    for old, new, correlated in worlds:
        name = f"{old}+{new} {'correlated' if correlated else 'independent'}"
        for seed in seeds:
            whole = plant(TRAINING + HELD_OUT, (old, new), correlated, seed)
            train = [x[:TRAINING] for x in whole.sides]
            held = whole._replace(sides=[x[TRAINING:] for x in whole.sides], strength_NS=whole.strength_NS[TRAINING:])
            config = DFCConfig(latents=256, k=8, batch=512, steps=steps, seed=seed)
            results += [evaluate(name, method, seed, held, train, run, config) for method, run in methods.items()]
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
