import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.probes.stats import curve_confirmed, degenerate, fluency, median_logprob, mediation, natural_floor
from gate.probes.types import DosePoint, Mediation
from gate.schema import Interval, NotRun
from gate.statistics import rate

QUIET = (0.0,) * 8


def point(dose, hits, n=24, controls=QUIET, eligible=True):
    return DosePoint(
        dose=dose, rate=rate(hits, n, 0.95), fluent_share=1.0 if eligible else 0.3, eligible=eligible, controls=controls
    )


def test_a_curve_that_beats_every_control_is_confirmed_at_its_largest_effect():
    got = curve_confirmed([point(-1, 0), point(0, 0), point(0.5, 8), point(1, 18), point(2, 24, eligible=False)], "up")
    assert got.confirmed
    assert got.room
    assert (got.effect, got.best_dose) == (0.75, 1)
    assert "from 0% to 75%" in got.why
    assert 0 < got.interval.low < 0.75 < got.interval.high < 1


def test_down_is_measured_against_dose_zero_too():
    points = [point(-1, 6, controls=(1.0,) * 8), point(0, 24, controls=(1.0,) * 8)]
    got = curve_confirmed(points, "down")
    assert (got.confirmed, got.effect, got.best_dose) == (True, 0.75, -1)
    assert 0 < got.interval.low < 0.75 < got.interval.high
    assert not curve_confirmed(points, "up").room


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([point(0, 0), point(1, 24, eligible=False)], "fluent"),
        ([point(0, 0), point(1, 3)], "not an effect"),
        ([point(0, 0), point(1, 18, controls=(0.0,) * 7)], "only 7 of 8"),
        ([point(0, 0), point(1, 18, controls=(0.0,) * 7 + (0.75,))], "1 of 8"),
        ([point(0, 0, n=8), point(1, 2, n=8)], "too few"),
    ],
)
def test_every_condition_is_needed(points, why):
    got = curve_confirmed(points, "up")
    assert not got.confirmed
    assert got.room
    assert why in got.why


def test_a_weaker_dose_that_beats_its_controls_is_preferred_to_a_strong_one_that_does_not():
    got = curve_confirmed([point(0, 0), point(1, 12), point(2, 24, controls=(0.0,) * 7 + (1.0,))], "up")
    assert (got.confirmed, got.best_dose, got.effect) == (True, 1, 0.5)


def test_a_control_that_breaks_the_text_the_other_way_is_no_rival():
    points = [point(0, 12), point(1, 24, controls=(0.0,) * 8)]
    assert curve_confirmed(points, "up").confirmed


def test_a_saturated_behaviour_has_no_room():
    got = curve_confirmed([point(0, 22), point(1, 24)], "up")
    assert (got.confirmed, got.room, got.effect) == (False, False, 0)
    assert "no room" in got.why


def test_trying_more_doses_asks_for_more_evidence():
    few = [point(0, 0, n=12), point(1, 4, n=12)]
    assert curve_confirmed(few, "up").confirmed
    assert not curve_confirmed([*few, *(point(dose, 0, n=12) for dose in (0.1, 0.2, 0.3, 0.4))], "up").confirmed


def test_a_curve_needs_its_unsteered_point():
    with pytest.raises(ValueError, match="unsteered"):
        curve_confirmed([point(1, 3)], "up")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 24), min_size=1, max_size=4), st.integers(0, 24), st.integers(0, 3))
def test_more_hits_never_unconfirm_a_curve_and_the_effect_is_real(hits, start, which):
    points = [point(0, start), *(point(i + 1, k) for i, k in enumerate(hits))]
    got = curve_confirmed(points, "up")
    assert got.effect <= 1
    if isinstance(got.interval, Interval):
        assert got.interval.low <= got.effect <= got.interval.high
        assert got.interval.high - got.interval.low > 1e-4
    else:
        assert got.effect == 0
    index = which % len(hits)
    better = [*points[: index + 1], point(index + 1, min(24, hits[index] + 1)), *points[index + 2 :]]
    assert curve_confirmed(better, "up").confirmed >= got.confirmed


def mediate(before, after, reference, controls=None, n=24, fluent=1.0, side="incoming"):
    before_hits, after_hits = [i < before for i in range(n)], [i < after for i in range(n)]
    rates = (before / n,) * 8 if controls is None else controls
    return mediation(before_hits, after_hits, reference, rates, side=side, fluent_share=fluent, seed=0)


def test_ablation_that_removes_all_of_it():
    got = mediate(24, 0, 0.0)
    assert isinstance(got, Mediation)
    assert got.confirmed
    assert got.removed == 1
    assert got.controls == (0.0,) * 8
    assert 0.7 < got.interval.low < got.interval.high == 1


def test_part_of_an_excess_over_the_other_model():
    got = mediate(24, 12, 0.25)
    assert got.removed == pytest.approx(2 / 3)
    assert got.confirmed
    assert got.interval.low < 2 / 3 < got.interval.high


def test_a_suppressed_behaviour_that_ablation_brings_back_counts_as_removed():
    got = mediate(1, 20, 1.0)
    assert got.removed == pytest.approx((1 / 24 - 20 / 24) / (1 / 24 - 1))
    assert got.confirmed


def test_overshoot_is_clipped_and_a_wrong_way_is_negative():
    assert mediate(24, 0, 0.5).removed == 1
    worse = mediate(12, 24, 0.0)
    assert worse.removed == -1
    assert not worse.confirmed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"after": 16}, "less than 50%"),
        ({"controls": (0.0,) * 4}, "only 4 of 8"),
        ({"controls": (1.0,) * 7 + (0.0,)}, "1 of 8"),
        ({"fluent": 0.5}, "fluent"),
        ({"before": 2, "after": 1, "n": 2}, "too few"),
    ],
)
def test_every_condition_of_mediation_is_needed(change, why):
    got = mediate(**{"before": 24, "after": 2, "reference": 0.0, **change})
    assert not got.confirmed
    assert why in got.why


@pytest.mark.parametrize(("before", "reference"), [(24, 1.0), (12, 0.6), (0, 0.1)])
def test_equal_rates_leave_nothing_to_mediate(before, reference):
    got = mediate(before, 0, reference)
    assert isinstance(got, NotRun)
    assert "nothing to mediate" in got.not_run


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 16), st.integers(0, 16), st.sampled_from([0.0, 0.3, 1.0]))
def test_mediation_is_bounded_seeded_and_never_certain(before, after, reference):
    got = mediate(before, after, reference, n=16)
    if isinstance(got, Mediation):
        assert -1 <= got.interval.low <= got.removed <= got.interval.high <= 1
        assert got.interval.high - got.interval.low > 1e-4
        assert got.fluent_interval.low < 1 == got.fluent_interval.high
        assert got == mediate(before, after, reference, n=16)


def test_the_floor_comes_from_natural_answers():
    floor = natural_floor([-0.2, -0.3, -0.5, -0.4])
    assert -2.5 <= floor < -2.4
    assert natural_floor([-1.0]) == -3.0
    with pytest.raises(ValueError, match="natural"):
        natural_floor([])


def test_fluency_is_likely_text_without_degeneration():
    ids = list(range(10))
    assert fluency([-0.5] * 10, ids, -3.0)
    assert fluency([-0.5] * 8 + [-20.0] * 2, ids, -3.0)  # one rare name does not matter
    assert not fluency([-4.0] * 10, ids, -3.0)
    assert not fluency([], [], -3.0)
    assert not fluency([-0.01] * 12, [5] * 12, -3.0)
    with pytest.raises(ValueError, match="10 log-probabilities for 9"):
        fluency([-0.5] * 10, ids[:9], -3.0)
    with pytest.raises(ValueError, match="empty"):
        median_logprob([])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([7, 7, 7], True),  # SorrySorrySorry
        ([7, 7], False),
        ([7], False),
        ([1, 7, 7, 7, 2], False),  # "no, no, no" inside a sentence
        ([1, 7, 7, 7, 7, 2], True),
        ([0, *[1, 2] * 4, 9], True),
        ([0, *[1, 2] * 3, 9], False),
        ([0, *[1, 2, 3, 4] * 4], True),
        ([1, 2, 3] * 3, True),
        ([1, 2, 3, 1, 2, 3], False),
        ([1, 2, 3, 4, 5] * 3, False),
        ([1, 2, 1, 3, 2, 1, 3, 1, 2, 2, 3, 1, 1, 3, 2, 1, 2, 3], True),  # 3 of 18 distinct
        (list(range(40)), False),
        (list(range(64)) + [0, 1, 0, 2, 1, 0, 2, 0, 1, 1, 2, 0, 0, 2, 1, 0] * 2, True),  # falls apart at the end
    ],
)
def test_degenerate_repetition(ids, expected):
    assert degenerate(ids) is expected


def test_characters_of_natural_text_are_not_degenerate():
    text = "I cannot help with that request, since it could hurt people. Ask me about gardens or music instead."
    assert not degenerate([ord(c) for c in text])
