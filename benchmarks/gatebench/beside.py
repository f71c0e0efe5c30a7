"""Cheaper and other detectors, run on what `gate check` left in its store for the very same pair.

    python -m benchmarks.gatebench.beside BASELINE INCOMING --policy FILE --store DIR [--profile smoke] [--seed 0] [--peer PEER]

Every detector is a pure function of one pair's artefacts and gives one score per watched behaviour, and one, `novel`, for
"something unwatched changed". Higher is more suspicious; the scales of two detectors have nothing in common, nor have a
detector's behaviours and its novelty. `benchmarks.gatebench.roc` compares them at equal false-alarm rates.

| detector | what it is |
| --- | --- |
| drift | output only: bound of the regressing drift beyond the tolerance |
| logit-difference, logit-difference-q90 | diff mining on log-probabilities: mean, and 0.9 quantile within each prompt |
| difference-of-means | residuals that a linear map between the models leaves unexplained |
| crosscoder | a standard BatchTopK crosscoder, trained here; exclusive latents by relative decoder norm |
| dfc-plain | the gate's own trained DFC without its evidence: exclusive latents matched as those of the crosscoder |
| dfc-learning | a DFC trained here by dfc_learning (--peer), matched the same way |
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gatebench.beside_load import Pair, load_pair
from benchmarks.gatebench.beside_matching import dictionary_of, match_dictionary
from benchmarks.gatebench.beside_means import difference_of_means
from benchmarks.gatebench.beside_texts import NOVEL, drift, logit_difference
from gate.check import Request
from gate.crosscoder.train import train_dfc
from gate.policy.load import load_policy
from gate.profiles import PROFILES, profile_named

Scores = dict[str, float]  # behaviour id, or "novel" -> how suspicious
QUANTILE = 0.9


@dataclass(frozen=True, slots=True)
class Settings:
    """What the trained detectors need beyond the pair. Size, sparsity and steps are the check's own, but for peer_steps."""

    seed: int = 0
    peer: Path | None = None  # a checkout of dfc_learning
    peer_steps: int | None = None  # default: as many as ours; it takes about seven times as long per step
    peer_lr: float | None = None  # default: its automatic one


def _drift(pair: Pair, _: Settings) -> Scores:
    return drift(pair.answered, pair.policy)


def _logits(pair: Pair, _: Settings) -> Scores:
    return logit_difference(pair.paired, pair.documents, pair.answered, pair.policy)


def _logits_quantile(pair: Pair, _: Settings) -> Scores:
    return logit_difference(pair.paired, pair.documents, pair.answered, pair.policy, QUANTILE)


def _means(pair: Pair, _: Settings) -> Scores:
    return difference_of_means(pair.paired, pair.documents, pair.answered, pair.policy)


def _crosscoder(pair: Pair, settings: Settings) -> Scores:
    """Ours without exclusive latents and without weights on surprise: a BatchTopK crosscoder as published.

    As many of its latents are called exclusive, by relative decoder norm, as the DFC has.
    """
    paired = pair.paired
    config = pair.config.model_copy(update={"exclusive_share": 0.0, "surprise_weight": 0.0, "seed": settings.seed})
    dfc = train_dfc(paired.baseline, paired.incoming, paired.surprise, config)
    dictionary = dictionary_of(dfc, paired.baseline, paired.incoming, pair.config.exclusive)
    return match_dictionary(dictionary, paired, pair.documents, pair.policy)


def _dfc_plain(pair: Pair, _: Settings) -> Scores:
    paired = pair.paired
    return match_dictionary(dictionary_of(pair.dfc, paired.baseline, paired.incoming), paired, pair.documents, pair.policy)


def _dfc_learning(pair: Pair, settings: Settings) -> Scores:
    from benchmarks.gatebench.beside_peer import TrainedPeer

    if settings.peer is None:
        raise ValueError("dfc-learning needs a checkout of the library")
    config = pair.config.model_copy(update={"seed": settings.seed, "steps": settings.peer_steps or pair.config.steps})
    sides = [pair.paired.baseline, pair.paired.incoming]
    dictionary = TrainedPeer(settings.peer, sides, config, settings.peer_lr).dictionary(sides)
    return match_dictionary(dictionary, pair.paired, pair.documents, pair.policy)


DETECTORS: Mapping[str, Callable[[Pair, Settings], Scores]] = {
    "drift": _drift,
    "logit-difference": _logits,
    "logit-difference-q90": _logits_quantile,
    "difference-of-means": _means,
    "crosscoder": _crosscoder,
    "dfc-plain": _dfc_plain,
    "dfc-learning": _dfc_learning,
}
# Output-only gates report every behaviour beyond its threshold, so the right one among them counts.
ANY_OVER_THRESHOLD = frozenset({"drift"})


def available(settings: Settings) -> tuple[str, ...]:
    """The detectors that can run: all but the peer's where there is no checkout of it."""
    return tuple(name for name in DETECTORS if name != "dfc-learning" or settings.peer is not None)


def scores(detector: str, pair: Pair, settings: Settings | None = None) -> Scores:
    """One detector's scores for one pair: every watched behaviour, and "novel"."""
    return DETECTORS[detector](pair, settings or Settings())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline")
    parser.add_argument("incoming")
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True, help="where `gate check` of this pair kept its stages")
    parser.add_argument("--profile", choices=list(PROFILES), default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="names of detectors")
    parser.add_argument("--peer", type=Path, help="a checkout of dfc_learning")
    parser.add_argument("--peer-steps", type=int)
    parser.add_argument("--peer-lr", type=float)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    args = parser.parse_args()
    settings = Settings(args.seed, args.peer, args.peer_steps, args.peer_lr)
    request = Request(args.baseline, args.incoming, load_policy(args.policy), profile_named(args.profile), args.seed)
    pair = load_pair(request, args.store)
    found: dict[str, Scores] = {}
    for name in args.only or available(settings):
        started = time.monotonic()
        found[name] = scores(name, pair, settings)
        if not args.json:
            line = "  ".join(f"{key} {value:.3f}" for key, value in found[name].items() if key != NOVEL)
            print(f"{name}: {line}  {NOVEL} {found[name][NOVEL]:.3f}  ({time.monotonic() - started:.1f} s)", flush=True)
    if args.json:
        print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
