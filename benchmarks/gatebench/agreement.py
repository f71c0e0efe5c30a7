"""Do two runs with different seeds rest on the same features?

For every feature that a verdict of the first seed rests on (matches of the behaviours it names, and its novel entries): the
highest correlation of its firing with any latent of the second run's crosscoder, over the same positions. The two runs share
the models' answers and nothing else: other initialisation, other batches, and a verdict of its own. This is a test of the
whole second run; the gate's own replication test, which every such feature has passed, uses yet another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gatebench.beside_load import load_pair
from benchmarks.gatebench.matrix import Half, matrix
from benchmarks.gatebench.run import Places, chosen
from benchmarks.gatebench.score import ALARMS, interval
from gate.check import Request
from gate.features.exclusivity import replication
from gate.features.firing import firing_of
from gate.policy.load import load_policy
from gate.profiles import profile_named
from gate.reports import read_verdict
from gate.verdict.types import Verdict

AGREES = 0.5  # firing correlation, the bound of the gate's own replication test


@dataclass(frozen=True)
class Agreement:
    """One pair under two seeds."""

    id: str
    features: int
    found: int
    verdicts: tuple[str, str]
    named: tuple[frozenset[str], frozenset[str]]


def rests_on(verdict: Verdict) -> list[int]:
    """Latents of the features that the verdict's alarms rest on."""
    latent = {feature.id: feature.latent for feature in verdict.features}
    flagged = [f for f in verdict.findings if f.status in ALARMS]
    names = [m.feature for f in flagged for m in f.matches]
    names += [name for entry in verdict.novel for name in (entry.feature, *entry.family)]
    return sorted({latent[name] for name in names if name in latent})


def agreement(root: Path, half: Half, profile: str, seeds: tuple[int, int], *, only: Sequence[str]) -> list[Agreement]:
    """Every pair that has finished checks under both seeds and names something under the first."""
    table, places = matrix(half), Places(root, half)
    policy = load_policy(places.policy)
    found = []
    for pair in chosen(table, quick=False, only=only):
        folders = [places.run(pair, profile, seed) for seed in seeds]
        if not all((folder / "verdict.json").exists() for folder in folders):
            continue
        verdicts = [read_verdict(folder) for folder in folders]
        latents = rests_on(verdicts[0])
        if not latents:
            continue
        old, new = str(places.models / pair.baseline), str(places.models / pair.incoming)
        loaded = [load_pair(Request(old, new, policy, profile_named(profile), seed), places.store) for seed in seeds]
        first, second = (firing_of(one.dfc, one.paired, one.documents) for one in loaded)
        correlations = replication(first, second, latents, seed=seeds[0], level=policy.confidence)
        named = [frozenset(f.behaviour for f in v.findings if f.status in ALARMS) for v in verdicts]
        agreeing = sum(one.value >= AGREES for one in correlations)
        statuses = (verdicts[0].status, verdicts[1].status)
        found.append(Agreement(pair.id, len(latents), agreeing, statuses, (named[0], named[1])))
    return found


def render(found: Sequence[Agreement]) -> str:
    """Counts as Markdown. Features of one pair are not independent, so pairs are counted as well."""
    total, agreeing = sum(a.features for a in found), sum(a.found for a in found)
    most = sum(a.found >= 0.8 * a.features for a in found)
    status = sum(a.verdicts[0] == a.verdicts[1] for a in found)
    named = sum(a.named[0] == a.named[1] for a in found)
    rows = [
        ("features that a verdict rests on, found again by the other seed", agreeing, total),
        ("pairs in which at least 80% are", most, len(found)),
        ("pairs with the same verdict", status, len(found)),
        ("pairs that name the same behaviours", named, len(found)),
    ]
    lines = ["| | count | 95% interval |", "| --- | --- | --- |"]
    lines += [f"| {name} | {hits} of {n} | {interval(hits, n)} |" for name, hits, n in rows]
    lines += [f"- {a.id}: {a.found} of {a.features}" for a in found if a.found < a.features]
    return "\n".join(lines)
