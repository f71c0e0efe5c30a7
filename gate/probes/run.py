"""One behaviour's probe: steer its features up and down and ablate them, in the model that has the behaviour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gate.behaviours.match import contrast_documents
from gate.behaviours.types import Drift, Match
from gate.features.rank import Corpus, Pair
from gate.features.types import Feature
from gate.models.types import Intervention
from gate.policy.types import Behaviour
from gate.probes.config import ProbeConfig
from gate.probes.directions import Subspace, Target, contrast, random_directions, random_subspaces, span, targets
from gate.probes.stats import curve_confirmed, mediation
from gate.probes.steer import Ids, Job, Judge, Judged, run_jobs
from gate.probes.types import Curve, DosePoint, Mediation, Probe
from gate.schema import NotRun, Side
from gate.statistics import rate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gate.crosscoder.types import DFC
    from gate.features.firing import Firing



@dataclass(frozen=True, slots=True)
class Subject:
    """All that one behaviour's probe reads. hits: per prompt of the policy, whether each side's own answer exhibits it."""

    behaviour: Behaviour
    drift: Drift
    matches: tuple[Match, ...]
    features: tuple[Feature, ...]
    score: Callable[[str], bool]
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Bench:
    """One side made ready: token ids of the behaviour's prompts with their natural answers, and the latents to move."""

    side: Side
    names: tuple[str, ...]
    rows_nd: Tensor  # decoder rows of the bundle
    aims: tuple[Target, ...]
    residual_Nd: Tensor  # every aligned answer position
    control_Nd: Tensor  # those of control prompts
    elicit: tuple[Ids, ...]
    elicit_hits: tuple[bool, ...]
    control: tuple[Ids, ...]
    control_hits: tuple[bool, ...]


def probe_side(drift: Drift, matches: Sequence[Match], features: Sequence[Feature]) -> Side:
    """The model that has the behaviour: the one with the higher rate; without a difference, the best match's own side."""
    if drift.gained != drift.lost:
        return "incoming" if drift.gained > drift.lost else "baseline"
    kinds = {feature.id: feature.side for feature in features}
    return kinds[matches[0].feature]


def run_probe(
    subject: Subject,
    pair: Pair,
    corpus: Corpus,
    dfc: DFC,
    firing: Firing,
    config: ProbeConfig,
    *,
    seed: int,
    level: float,
    tick: Callable[[int], None] | None = None,
) -> Probe | NotRun:
    """Dose-response of the bundle and of its strongest members, and mediation by ablating the bundle."""
    side = probe_side(subject.drift, subject.matches, subject.features)
    bench = _prepare(subject, pair, corpus, dfc, firing, config, side)
    if isinstance(bench, NotRun):
        return bench
    judge = Judge(pair.engine(side), pair.layer(side), subject.score)
    natural = _natural(corpus, subject.behaviour.id, side, pair)
    judge.learn([prompt for prompt, _ in natural], [answer for _, answer in natural])
    curves = _curves(subject, bench, pair, judge, config, seed, level, tick)
    mediated = _mediate(subject, bench, pair, judge, config, seed, level, tick)
    caused = [curve for curve in curves if curve.confirmed]
    ablated = isinstance(mediated, Mediation) and mediated.confirmed
    if caused:
        best = max(caused, key=lambda curve: curve.effect)
        why = f"steering {best.target} {best.direction} moves the behaviour by {100 * best.effect:.0f} points at dose {best.best_dose:g}"
    elif ablated:
        why = "ablating the features together removes the behaviour"
    else:
        why = "no steering at a fluent dose moved the behaviour beyond the control directions"
    return Probe(
        behaviour=subject.behaviour.id,
        side=side,
        bundle=bench.names,
        curves=tuple(curves),
        mediation=mediated,
        confirmed=bool(caused) or ablated,
        why=why,
    )


def _prepare(
    subject: Subject, pair: Pair, corpus: Corpus, dfc: DFC, firing: Firing, config: ProbeConfig, side: Side
) -> Bench | NotRun:
    import torch

    from gate.crosscoder.dfc import decoder_rows

    own = {feature.id: feature for feature in subject.features if feature.kind == "rewired" or feature.side == side}
    chosen = [own[match.feature] for match in subject.matches if match.feature in own]
    shown, plain = contrast_documents(corpus.documents, subject.behaviour.id, side, subject.score)
    if not len(plain):
        return NotRun(not_run="no control or neutral prompts to compare with")
    delta = contrast(firing, [feature.latent for feature in chosen], shown, plain)
    keep = [i for i in np.argsort(-delta, kind="stable") if delta[i] > 0][: config.bundle] if chosen else []
    if not keep:
        return NotRun(not_run=f"no matched feature fires more where the {side} model shows the behaviour")
    chosen, delta = [chosen[i] for i in keep], delta[keep]
    latents, names = [feature.latent for feature in chosen], [feature.id for feature in chosen]
    residual = corpus.paired.baseline if side == "baseline" else corpus.paired.incoming
    at_control = torch.from_numpy(np.isin(firing.document_N, plain))
    return Bench(
        side=side,
        names=tuple(names),
        rows_nd=decoder_rows(dfc, side, latents),
        aims=tuple(targets(dfc, side, names, latents, delta, config.singles)),
        residual_Nd=residual[corpus.paired.answer],
        control_Nd=residual[corpus.paired.answer & at_control],
        **_prompts(subject, pair, corpus, side),
    )


def _prompts(subject: Subject, pair: Pair, corpus: Corpus, side: Side) -> dict[str, tuple[Ids, ...] | tuple[bool, ...]]:
    """Ids of this behaviour's prompts, and neutral ones as further controls, and whether the natural answers exhibit it."""
    engine = pair.engine(side)
    found: dict[str, tuple[Ids, ...] | tuple[bool, ...]] = {}
    for group in ("elicit", "control"):
        mine = [a for a in corpus.answered if a.behaviour == subject.behaviour.id and a.group == group]
        if group == "control":
            mine += [a for a in corpus.answered if a.group == "neutral"]
        found[group] = tuple(engine.render(a.prompt, None).ids for a in mine)
        found[f"{group}_hits"] = tuple(subject.score(a.by(side)) for a in mine)
    return found


def _natural(corpus: Corpus, behaviour: str, side: Side, pair: Pair) -> list[tuple[Ids, Ids]]:
    """Natural (prompt, answer) ids of one side for one behaviour: what fluent text is."""
    engine = pair.engine(side)
    pairs = []
    for item in corpus.answered:
        if item.behaviour == behaviour:
            prompt = engine.render(item.prompt, None).ids
            full = engine.render(item.prompt, item.by(side)).ids
            pairs.append((prompt, full[len(prompt) : -1]))
    return pairs


def _curves(
    subject: Subject,
    bench: Bench,
    pair: Pair,
    judge: Judge,
    config: ProbeConfig,
    seed: int,
    level: float,
    tick: Callable[[int], None] | None,
) -> list[Curve]:
    """Up on control prompts, where the behaviour is absent; down on eliciting prompts that show it."""
    plans: list[tuple[Target, Literal["elicit", "control"], tuple[Ids, ...], float, list[Tensor]]] = []
    up = tuple(p for p, hit in zip(bench.control, bench.control_hits, strict=True) if not hit)[: config.prompts]
    down = tuple(p for p, hit in zip(bench.elicit, bench.elicit_hits, strict=True) if hit)[: config.prompts]
    jobs: list[Job] = []
    layer = pair.layer(bench.side)
    for number, aim in enumerate(bench.aims):
        vectors = [aim.vector, *random_directions(aim.vector, config.controls, seed + number)]
        for group, prompts, doses in (("control", up, config.up), ("elicit", down, config.down)):
            for dose in doses if prompts else ():
                plans.append((aim, "control" if group == "control" else "elicit", prompts, dose, vectors))
                jobs += [
                    Job(prompt, Intervention(layer, "add", "answer", vector=dose * vector))
                    for vector in vectors
                    for prompt in prompts
                ]
    judged = run_jobs(pair.engine(bench.side), jobs, subject.max_new_tokens, judge, tick)
    points: dict[tuple[str, Literal["elicit", "control"]], list[DosePoint]] = {}
    at = 0
    for aim, group, prompts, dose, vectors in plans:
        rows = [judged[at + i * len(prompts) : at + (i + 1) * len(prompts)] for i in range(len(vectors))]
        at += len(vectors) * len(prompts)
        points.setdefault((aim.name, group), [_unsteered(group, len(prompts), config, level)]).append(
            _point(dose, rows, group, config, level)
        )
    return [_curve(name, bench.side, group, found, level) for (name, group), found in points.items()]


def _counts(judged: Sequence[Judged], group: str) -> list[bool]:
    """Broken text proves nothing: it does not exhibit where steering up, and still does where steering down."""
    return [item.exhibits and item.fluent if group == "control" else item.exhibits or not item.fluent for item in judged]


def _point(dose: float, rows: Sequence[Sequence[Judged]], group: str, config: ProbeConfig, level: float) -> DosePoint:
    hits = [sum(_counts(row, group)) for row in rows]
    n = len(rows[0])
    fluent = sum(item.fluent for item in rows[0]) / n
    return DosePoint(
        dose=dose,
        rate=rate(hits[0], n, level),
        fluent_share=fluent,
        eligible=fluent >= config.min_fluent,
        controls=tuple(hit / n for hit in hits[1:]),
    )


def _unsteered(group: str, n: int, config: ProbeConfig, level: float) -> DosePoint:
    """Dose 0: by choice of the prompts none of the control ones shows the behaviour and all of the eliciting ones do."""
    hits = 0 if group == "control" else n
    return DosePoint(
        dose=0.0, rate=rate(hits, n, level), fluent_share=1.0, eligible=True, controls=(hits / n,) * config.controls
    )


def _curve(name: str, side: Side, group: Literal["elicit", "control"], points: list[DosePoint], level: float) -> Curve:
    direction: Literal["up", "down"] = "up" if group == "control" else "down"
    ordered = tuple(sorted(points, key=lambda point: point.dose))
    confirmed, effect, best, room, why = curve_confirmed(ordered, direction, level=level)
    return Curve(
        target=name,
        side=side,
        prompts=group,
        direction=direction,
        points=ordered,
        confirmed=confirmed,
        effect=effect,
        best_dose=best,
        room=room,
        why=why,
    )


def _mediate(
    subject: Subject,
    bench: Bench,
    pair: Pair,
    judge: Judge,
    config: ProbeConfig,
    seed: int,
    level: float,
    tick: Callable[[int], None] | None,
) -> Mediation | NotRun:
    """Ablate the bundle's span, and random subspaces of the same rank, on the eliciting prompts."""
    prompts = bench.elicit[: config.ablated_prompts]
    before = bench.elicit_hits[: config.ablated_prompts]
    space = span(bench.rows_nd, bench.control_Nd)
    spaces = [space, *random_subspaces(space, bench.residual_Nd, bench.control_Nd, config.controls, seed)]
    layer = pair.layer(bench.side)
    jobs = [Job(prompt, _hold(one, layer)) for one in spaces for prompt in prompts]
    judged = run_jobs(pair.engine(bench.side), jobs, subject.max_new_tokens, judge, tick)
    rows = [judged[i * len(prompts) : (i + 1) * len(prompts)] for i in range(len(spaces))]
    after = [_counts(row, "elicit") for row in rows]
    fluent = sum(item.fluent for item in rows[0]) / len(prompts)
    other = subject.drift.baseline if bench.side == "incoming" else subject.drift.incoming
    return mediation(
        before,
        after[0],
        other.value,
        [sum(row) / len(row) for row in after[1:]],
        side=bench.side,
        fluent_share=fluent,
        min_fluent=config.min_fluent,
        seed=seed,
        level=level,
    )


def _hold(space: Subspace, layer: int) -> Intervention:
    return Intervention(layer, "move", "all", basis=space.basis, target=space.target)

