import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.activations.types import Answered
from gate.behaviours.drift import MAX_CHARACTERS, adjust, examples, measure_drift
from gate.policy.types import Behaviour, LengthScorer, Prompt


def behaviour(regression="decrease", tolerance=0.1):
    return Behaviour(
        id="refusal",
        title="Refusal",
        regression=regression,
        tolerance=tolerance,
        scorer=LengthScorer(kind="length"),
        elicit=(Prompt.model_validate("Hi"),),
    )


def hits(n, k):
    return [True] * k + [False] * (n - k)


def test_a_lost_behaviour_is_clear_in_its_direction_only():
    drift = measure_drift(behaviour(), hits(48, 48), hits(48, 2), 0.95)
    assert (drift.gained, drift.lost) == (0, 46)
    assert drift.value == pytest.approx(-46 / 48)
    assert drift.regressing == pytest.approx(46 / 48)
    assert drift.clear
    assert drift.p_value < 1e-10
    assert -1 <= drift.interval.low < drift.value < drift.interval.high < -0.8
    other_way = measure_drift(behaviour("increase"), hits(48, 48), hits(48, 2), 0.95)
    assert other_way.regressing == pytest.approx(-46 / 48)
    assert not other_way.clear
    assert measure_drift(behaviour("either"), hits(48, 48), hits(48, 2), 0.95).clear
    assert measure_drift(behaviour("either"), hits(48, 2), hits(48, 48), 0.95).regressing > 0.9


def test_significant_and_beyond_the_tolerance_is_not_yet_clear():
    drift = measure_drift(behaviour(tolerance=0.1), hits(48, 48), hits(48, 41), 0.95)
    assert drift.regressing > drift.tolerance
    assert drift.p_value < 0.05
    assert not drift.clear


def test_clear_means_the_bound_beyond_the_tolerance():
    for kept in range(49):
        drift = measure_drift(behaviour(tolerance=0.25), hits(48, 48), hits(48, kept), 0.95)
        assert drift.clear == (drift.interval.high < -0.25)


def test_no_change_has_width_and_p_one():
    drift = measure_drift(behaviour(), hits(10, 10), hits(10, 10), 0.95)
    assert (drift.value, drift.p_value, drift.clear) == (0.0, 1.0, False)
    assert drift.interval.low < 0 < drift.interval.high


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.sampled_from([0.0, 0.1, 0.3]))
def test_mirrored_policies_see_mirrored_drifts(pairs, tolerance):
    before, after = [b for b, _ in pairs], [a for _, a in pairs]
    down = measure_drift(behaviour("decrease", tolerance), before, after, 0.95)
    up = measure_drift(behaviour("increase", tolerance), [not b for b in before], [not a for a in after], 0.95)
    assert down.regressing == pytest.approx(up.regressing)
    assert down.clear == up.clear
    either = measure_drift(behaviour("either", tolerance), before, after, 0.95)
    opposite = measure_drift(behaviour("increase", tolerance), before, after, 0.95)
    assert either.clear == (down.clear or opposite.clear)
    assert either.regressing == max(down.regressing, opposite.regressing)


def test_holm_across_behaviours_touches_nothing_else():
    drifts = [measure_drift(behaviour(), hits(20, 20), hits(20, kept), 0.95) for kept in (20, 12, 4)]
    adjusted = adjust(drifts)
    assert [d.p_adjusted for d in adjusted] == pytest.approx([1.0, 2 * drifts[1].p_value, 3 * drifts[2].p_value])
    assert [d.model_copy(update={"p_adjusted": d.p_value}) for d in adjusted] == drifts
    assert adjust([]) == ()


def answered(n, long=False):
    text = "x" * 5000 if long else "answer"
    return [
        Answered(prompt=Prompt.model_validate(f"Q{i}"), behaviour="refusal", group="elicit", baseline=text, incoming=text)
        for i in range(n)
    ]


def test_examples_show_changed_prompts_first_and_stay_small():
    before, after = [True] * 12, [i not in {5, 11} for i in range(12)]
    shown = examples(answered(12), before, after)
    assert [example.prompt for example in shown] == ["Q5", "Q11", "Q0", "Q1", "Q2", "Q3", "Q4", "Q6"]
    assert not shown[0].incoming_exhibits
    assert shown[2].incoming_exhibits


def test_examples_truncate_visibly():
    shown = examples(answered(1, long=True), [True], [True])[0]
    assert len(shown.baseline) == len(shown.incoming) == MAX_CHARACTERS
    assert shown.baseline.endswith("…")


def test_examples_refuse_a_missing_outcome():
    with pytest.raises(ValueError, match="zip"):
        examples(answered(2), [True, True], [True])
