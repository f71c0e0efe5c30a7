"""The table of `gate calibrate`: hostile names are harmless, and a null that shows nothing says so."""

from gate.calibration.types import Calibration, LiftNull, NullComparison
from gate.policy.types import Behaviour, LengthScorer, Policy, Prompt
from gate.reports.calibration import render_json, render_table
from gate.schema import NotRun
from gate.verdict.types import PolicyRef
from tests.reports.sample import sample

NOTHING = NotRun(not_run="no comparison has a value")


def policy():
    one = Behaviour(
        id="songs", title="Songs", regression="either", scorer=LengthScorer(kind="length"), elicit=(Prompt.model_validate("a"),)
    )
    return Policy(version=1, name="p", behaviours=(one,))


def calibration(*, answers_changed, name="baseline"):
    verdict = sample()
    comparison = NullComparison(
        rounding="int8", seed=0, fold=0, copy_digest="c" * 64, changed=3, tensors=4, prompts=10,
        answers_changed=answers_changed, status="warn", summary="s", coverage=verdict.coverage, quality=verdict.quality,
        significant=1, drifts=(NOTHING,), lifts=(), local_surprise=(), auroc=(), replication=(), effect=(),
    )  # fmt: skip
    return Calibration(
        digest="e" * 64, baseline=verdict.baseline.model_copy(update={"name": name}),
        policy=PolicyRef(name="p", digest="d" * 64, behaviours=1), profile="smoke", engine="transformers", device="cpu", seed=0,
        comparisons=(comparison,), skipped=(NotRun(not_run="bf16\x1b[31m changes nothing"),), alarms=1, behaviours=(),
        surprise_lift=(LiftNull(kind="added", bound=NOTHING),), local_surprise=NOTHING, auroc=NOTHING, replication=NOTHING,
        effect=NOTHING,
    )  # fmt: skip


def test_escapes_never_reach_the_terminal():
    text = render_table(calibration(answers_changed=1, name="a\x1b]0;owned\x07\n::error::x"), policy(), width=120, color=False)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert not any(line.startswith("::") for line in text.splitlines())


def test_a_copy_that_answers_alike_is_not_sold_as_a_calibrated_lift():
    assert "not calibrated" in render_table(calibration(answers_changed=0), policy(), width=120, color=False)
    assert "not calibrated" not in render_table(calibration(answers_changed=1), policy(), width=120, color=False)
    assert "1 of 1 null comparison alarmed" in render_table(calibration(answers_changed=1), policy(), width=120, color=False)


def test_json_reads_back():
    one = calibration(answers_changed=1)
    assert Calibration.model_validate_json(render_json(one)) == one
