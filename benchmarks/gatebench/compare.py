"""The gate beside cheaper and other detectors, on the same pairs and from the same artefacts.

Scores are kept beside each run, so a killed comparison goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gatebench import beside
from benchmarks.gatebench.beside_load import load_pair
from benchmarks.gatebench.matrix import Half, Matrix, Pair, matrix
from benchmarks.gatebench.roc import NOVEL, Case, Threshold, compare, markdown
from benchmarks.gatebench.run import Places, chosen
from benchmarks.gatebench.score import Outcome, outcome
from gate.check import Request
from gate.policy.load import load_policy
from gate.profiles import profile_named

GATE = "gate"
ABSENT = {"not taken", "benign", "same-function"}
ALLOWANCES = (0.0, 0.05)
# The gate decides by itself: a behaviour that warns or fails, or an entry of the novel list.
GATE_THRESHOLD = Threshold(0.5, 0.5, "its own decision")


def measure(
    root: Path, half: Half, profile: str, seed: int, pairs: Sequence[Pair], detectors: Sequence[str], settings: beside.Settings
) -> None:
    """Scores of every pair that has a finished check, into `beside.json` of its run."""
    places = Places(root, half)
    policy = load_policy(places.policy)
    for pair in pairs:
        folder = places.run(pair, profile, seed)
        kept = folder / "beside.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        missing = [name for name in detectors if name not in known]
        if not missing or not (folder / "verdict.json").exists():
            continue
        old, new = str(places.models / pair.baseline), str(places.models / pair.incoming)
        loaded = load_pair(Request(old, new, policy, profile_named(profile), seed), places.store)
        for name in missing:
            known[name] = beside.scores(name, loaded, settings)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(known))
        part.rename(kept)
        print(f"scored {pair.id}: {' '.join(missing)}", flush=True)


def table(root: Path, profile: str, seed: int, detectors: Sequence[str], *, only: Sequence[str] = ()) -> str:
    """Detection by the right name at equal false-alarm rates: thresholds tuned on the tuning half's benign pairs, and the
    oracle's on the held-out half's own. Pairs whose plant took by half, and damaged ones, are left out.
    """
    cases: dict[str, list[Case]] = {name: [] for name in (GATE, *detectors)}
    halves: tuple[Half, ...] = ("tuning", "held-out")
    for half in halves:
        world, places = matrix(half), Places(root, half)
        for pair in chosen(world, quick=False, only=only if half == "held-out" else ()):
            found = outcome(pair, world, places, profile, seed)
            kept = places.run(pair, profile, seed) / "beside.json"
            scores = json.loads(kept.read_text()) if kept.exists() else {}
            if found is None or found.truth in {"partial", "damaged"} or not set(detectors) <= set(scores):
                continue
            if half == "tuning" and found.truth not in ABSENT:
                continue
            scores[GATE] = gate_scores(found, world)
            for name, part in cases.items():
                part.append(_case(found, scores[name], seed, half))
    held_out = {name: [case for case in part if not case.tuning] for name, part in cases.items()}
    any_of = {GATE, *beside.ANY_OVER_THRESHOLD}
    fixed = {GATE: GATE_THRESHOLD}
    parts = compare(held_out, any_of=any_of, fixed=fixed, allowances=ALLOWANCES)
    if any(case.tuning for case in cases[GATE]):
        parts += compare(cases, any_of=any_of, allowances=())
    return markdown(parts)


def gate_scores(found: Outcome, world: Matrix) -> dict[str, float]:
    """The verdict as scores: 2 for a behaviour that fails, 1 for one that warns, and for the novel list 1 where it shows
    something.
    """
    names = [w.id for w in world.realm.watches]
    scores = {name: 2.0 * (name in found.failed) or 1.0 * (name in found.named) for name in names}
    return {**scores, NOVEL: float(found.novel > 0)}


def _case(found: Outcome, scores: dict[str, float], seed: int, half: Half) -> Case:
    truth = {NOVEL} if found.truth == "unwatched" else set() if found.truth in ABSENT else {found.behaviour}
    return Case(found.id, seed, frozenset(truth), scores, tuning=half == "tuning")
