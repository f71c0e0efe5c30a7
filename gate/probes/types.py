"""Interventions on the found features, against controls."""

from __future__ import annotations

from typing import Literal

from gate.schema import UNRECORDED, Interval, NotRun, Rate, Record, Side


class DosePoint(Record):
    """Rate of the behaviour at one dose. Only fluent answers can exhibit it.

    `fluent_share` of the answers are fluent; `eligible`: enough of them are for the dose to count. `controls`: the rate under
    each control direction of the same norm at the same dose; empty where no dose of the curve had an effect to control for.
    """

    dose: float  # in units of the target's own natural activation; 0 is unsteered
    rate: Rate
    fluent_share: float
    fluent_interval: Interval | NotRun = UNRECORDED  # Wilson
    eligible: bool
    controls: tuple[float, ...]


class Curve(Record):
    """Dose-response of one target on one group of prompts in one model."""

    target: str  # a feature id, or "bundle"
    how: str = ""  # the intervention in words, where a target has several
    side: Side
    prompts: Literal["elicit", "control"]
    direction: Literal["up", "down"]
    points: tuple[DosePoint, ...]  # by dose
    confirmed: bool  # at an eligible dose the rate moves, in `direction`, further than under every control direction
    effect: float  # change of rate against dose 0 at the best eligible dose, positive in `direction`
    effect_interval: Interval | NotRun = UNRECORDED  # Newcombe, independent proportions, corrected for the number of doses
    best_dose: float
    room: bool  # False: already saturated at dose 0, nothing to show
    why: str


class Mediation(Record):
    """Ablating the bundle's features together in the model that has the behaviour.

    `removed`: share of the behaviour's excess over `reference` (the other model's rate) that ablation removes, 1 is all of it;
    `controls`: the same share under each control subspace of the same rank.
    """

    side: Side
    before: Rate
    after: Rate
    reference: float
    removed: float
    interval: Interval
    controls: tuple[float, ...]
    fluent_share: float
    fluent_interval: Interval | NotRun = UNRECORDED  # Wilson
    confirmed: bool
    why: str


class Probe(Record):
    """All interventions for one behaviour. `confirmed`: the features cause it (a confirmed curve or mediation)."""

    behaviour: str
    side: Side
    bundle: tuple[str, ...]  # feature ids
    curves: tuple[Curve, ...]
    mediation: Mediation | NotRun
    confirmed: bool
    why: str
