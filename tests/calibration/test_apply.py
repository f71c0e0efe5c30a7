"""Thresholds are raised by noise and never lowered; noisy policies are refused."""

import pytest

from gate.behaviours.match import MIN_LOCAL_SURPRISE
from gate.calibration.apply import figures_digest, raised_thresholds, refuse_noisy
from gate.calibration.summary import behaviour_nulls, drift_bound, spread
from gate.calibration.types import BehaviourNull, Calibration, LiftNull, NullDrift
from gate.errors import PolicyError
from gate.policy.types import Behaviour, Floors, LexicalScorer, Novelty, Policy, Prompt
from gate.schema import NotRun
from gate.statistics import clopper_pearson
from gate.verdict.types import NOT_CALIBRATED, CalibrationSummary, PolicyRef
from tests.reports.sample import sample

NOTHING = NotRun(not_run="nothing")


def behaviour(regression="increase", tolerance=0.1):
    return Behaviour(
        id="refusal", title="Refusal", regression=regression, tolerance=tolerance,
        scorer=LexicalScorer(kind="lexical", any_of=("no",)), elicit=(Prompt.model_validate("a"),),
    )  # fmt: skip


def policy(*, tolerance=0.1, lift=2.0, limit=0.05):
    return Policy(
        version=1, name="p", behaviours=(behaviour(tolerance=tolerance),), novelty=Novelty(min_surprise_lift=lift),
        floors=Floors(max_flip_rate=limit),
    )  # fmt: skip


def null(gained, lost, n=48):
    value = (gained - lost) / n
    return NullDrift(behaviour="refusal", n=n, gained=gained, lost=lost, value=value, regressing=value, even=0.0, odd=value)


def calibration(*, lift=0.5, local=0.2, bound=0.0, hits=1, n=96):
    flips = clopper_pearson(hits, n, 0.95)
    one = BehaviourNull(behaviour="refusal", flips=flips, drift=spread([0.0]), split_half=0.0, bound=bound)
    return Calibration(
        digest="e" * 64, baseline=sample().baseline, policy=PolicyRef(name="p", digest="d" * 64, behaviours=1), profile="smoke",
        engine="transformers", device="cpu", seed=0, comparisons=(), skipped=(), alarms=0, behaviours=(one,),
        surprise_lift=(LiftNull(kind="added", bound=spread([0.1, lift])), LiftNull(kind="removed", bound=NOTHING)),
        local_surprise=spread([local]), auroc=NOTHING, replication=NOTHING, effect=NOTHING,
    )  # fmt: skip


def test_a_quiet_baseline_changes_nothing():
    rules = policy()
    found = raised_thresholds(rules, calibration(lift=-0.3, local=-2.0), MIN_LOCAL_SURPRISE)
    assert (found.policy, found.min_local_surprise) == (rules, MIN_LOCAL_SURPRISE)
    assert isinstance(found.summary, CalibrationSummary)
    assert found.summary.raised == ()


def test_noise_raises_each_threshold_to_its_null_and_the_margin():
    found = raised_thresholds(policy(), calibration(lift=2.0, local=0.9, bound=0.15), MIN_LOCAL_SURPRISE)
    assert found.policy.novelty.min_surprise_lift == pytest.approx(2.5)
    assert found.min_local_surprise == pytest.approx(1.15)
    assert found.policy.behaviours[0].tolerance == pytest.approx(0.15)
    assert isinstance(found.summary, CalibrationSummary)
    assert [(one.name, one.before) for one in found.summary.raised] == [
        ("novelty.min_surprise_lift", 2.0),
        ("local surprise of matches", 1.0),
        ("refusal.tolerance", 0.1),
    ]


def test_without_a_calibration_nothing_is_raised_and_the_verdict_says_so():
    rules = policy()
    found = raised_thresholds(rules, None, 1.0)
    assert (found.policy, found.summary) == (rules, NOT_CALIBRATED)


def test_the_limit_itself_is_allowed_and_more_is_refused_with_the_counts():
    refuse_noisy(policy(limit=0.25), calibration(hits=24, n=96))
    with pytest.raises(PolicyError, match=r"flips 25 of 96 outcomes \(26\.0%.*behaviour refusal.*max_flip_rate \(25%\)"):
        refuse_noisy(policy(limit=0.25), calibration(hits=25, n=96))


def test_the_limit_is_not_part_of_the_calibrations_key_and_all_else_is():
    assert figures_digest(policy(limit=0.0)) == figures_digest(policy(limit=0.5))
    assert figures_digest(policy(lift=1.0)) != figures_digest(policy(lift=2.0))


@pytest.mark.parametrize(
    ("regression", "drifts", "hits"),
    [
        ("increase", [null(0, 3), null(0, 1)], 0),  # flips that improve bound nothing
        ("increase", [null(1, 3), null(1, 0)], 2),
        ("decrease", [null(1, 3), null(1, 0)], 3),
        ("either", [null(1, 3), null(1, 0)], 3),
    ],
)
def test_the_bound_counts_regressing_flips(regression, drifts, hits):
    found = drift_bound(behaviour(regression), drifts, 0.95)
    assert found == pytest.approx(clopper_pearson(hits, 96, 0.90).interval.high if hits else 0.0)


def test_the_bound_is_never_below_the_largest_drift_seen():
    assert drift_bound(behaviour(), [null(9, 0), *[null(0, 0)] * 20], 0.95) == 9 / 48


def test_few_prompts_alone_raise_nothing():
    assert drift_bound(behaviour(), [null(0, 0, n=8)], 0.95) == 0.0


def test_a_scorer_that_failed_is_not_a_quiet_behaviour():
    class Comparison:
        copy_digest = "a"
        drifts = (NotRun(not_run="the scorer broke"),)

    (one,) = behaviour_nulls(policy(), [Comparison()])
    assert one.flips == NotRun(not_run="the scorer broke")
