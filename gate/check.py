"""The main job, stage by stage: start reading here.

    resolve -> answers -> activations -> crosscoder (two seeds) -> features -> behaviours -> probes -> verdict

Each stage is a function of `gate.stages` that reads finished artefacts and writes one. The verdict is a pure function of the
policy and the evidence, and every report is a projection of the verdict.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from gate import stages
from gate.behaviours.types import Measured
from gate.features.types import Feature
from gate.models.layers import site_layer
from gate.models.resolve import resolve
from gate.policy.load import policy_digest
from gate.policy.types import Policy
from gate.probes.types import Probe
from gate.profiles import Profile
from gate.progress import Progress
from gate.schema import NotRun
from gate.store import Store
from gate.verdict.decide import Evidence, decide, needs_probe
from gate.verdict.types import PolicyRef, Run, Timestamps, Verdict, Versions

if TYPE_CHECKING:
    from gate.crosscoder.types import DFCConfig

SECOND_SEED = 1_000_003  # added to the seed for the crosscoder that must find the same features again


@dataclass(frozen=True, slots=True)
class Request:
    """What `gate check` was asked."""

    baseline: str
    incoming: str
    policy: Policy
    profile: Profile
    seed: int = 0
    engine: str = "transformers"
    device: str = "auto"


def run_check(request: Request, store: Store, progress: Progress) -> Verdict:
    """Compare two models under a policy. Raises GateError when no verdict can be reached."""
    started, clock = datetime.now(UTC), time.monotonic()
    context = _open(request, store, progress)
    if context.baseline.ref.digest == context.incoming.ref.digest:
        evidence, features, dfc = _identical(request.policy), (), NotRun(not_run="the models are identical")
    else:
        evidence, features, dfc = _gather(context)
    decision = decide(request.policy, evidence)
    return Verdict(
        status=decision.status,
        summary=decision.summary,
        baseline=context.baseline.ref,
        incoming=context.incoming.ref,
        policy=PolicyRef(
            name=request.policy.name, digest=policy_digest(request.policy), behaviours=len(request.policy.behaviours)
        ),
        run=_run(request, context, dfc),
        coverage=evidence.coverage,
        quality=evidence.quality,
        findings=decision.findings,
        novel=decision.novel,
        features=_referred(features, decision.findings, decision.novel),
        notes=evidence.notes,
        timestamps=_timestamps(started, clock, context.seconds),
    )


def _open(request: Request, store: Store, progress: Progress) -> stages.Context:
    """Resolve both models, check every file without loading one, and choose the sites."""
    baseline, incoming = resolve_model(request.baseline), resolve_model(request.incoming)
    site = request.policy.site
    layers = (
        site_layer(baseline.ref, site.depth, site.baseline_layer),
        site_layer(incoming.ref, site.depth, site.incoming_layer),
    )
    return stages.Context(
        baseline=baseline,
        incoming=incoming,
        layers=layers,
        policy=request.policy,
        profile=request.profile,
        seed=request.seed,
        engine=request.engine,
        device=request.device,
        store=store,
        progress=progress,
    )


def _gather(context: stages.Context) -> tuple[Evidence, tuple[Feature, ...], DFCConfig]:
    """Stages 2 to 6."""
    texts = stages.activations(context)
    first = stages.crosscoder(context, texts, context.seed, "first seed")
    second = stages.crosscoder(context, texts, context.seed + SECOND_SEED, "second seed")
    features, features_key = stages.features(context, texts, first, second)
    scored = stages.drifts(context, texts.answered)
    measured: dict[str, Measured | NotRun] = {}
    probes: dict[str, Probe | NotRun] = {}
    for behaviour in context.policy.behaviours:
        score = scored[behaviour.id]
        if isinstance(score, NotRun):
            measured[behaviour.id] = probes[behaviour.id] = score
            continue
        matched = stages.matches(context, texts, first, features, features_key, behaviour)
        known = Measured(behaviour=behaviour.id, drift=score.drift, matches=matched, examples=score.examples)
        measured[behaviour.id] = known
        if needs_probe(known):
            probes[behaviour.id] = stages.probe(context, texts, first, features, features_key, behaviour, known)
        else:
            probes[behaviour.id] = NotRun(not_run="no changed feature goes with this behaviour")
    evidence = Evidence(measured, probes, features, texts.coverage, first.quality)
    return evidence, features, first.config
