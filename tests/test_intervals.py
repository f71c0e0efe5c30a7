"""Intervals over documents and prompts: published values, coverage, and never a width of zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.intervals import auroc_interval, correlation_intervals, kish, unseen_share
from gate.statistics import auroc


def test_auroc_interval_solves_its_equation():
    """Both bounds of Newcombe's method 5 satisfy |value - t| = z se(t)."""
    for value, m, n in ((0.75, 20, 30), (0.95, 12, 12), (0.6, 48, 40)):
        got = auroc_interval(value, m, n, 0.95)
        for t in (got.low, got.high):
            extra = (m + n) / 2 - 1
            variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
            assert abs(value - t) == pytest.approx(1.959964 * variance**0.5, rel=1e-5)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.floats(0, 1), st.floats(1, 500), st.floats(1, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_auroc_interval_has_width_contains_the_value_and_is_symmetric(value, m, n, level):
    got = auroc_interval(value, m, n, level)
    assert 0 <= got.low <= value <= got.high <= 1
    assert got.high - got.low > 1e-4
    mirrored = auroc_interval(1 - value, m, n, level)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - got.high, 1 - got.low), abs=1e-6)


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.5), (1.0, 0.7602), (2.5, 0.9615)])
def test_auroc_interval_covers_also_with_few_documents(shift, truth):
    rng = np.random.default_rng(1)
    positive = np.arange(24) < 12
    scores = rng.normal(size=(24, 400)) + shift * positive[:, None]
    inside = [i.low <= truth <= i.high for i in (auroc_interval(float(v), 12, 12, 0.95) for v in auroc(scores, positive))]
    assert np.mean(inside) >= 0.93


def test_auroc_interval_over_prompts_covers_where_tokens_of_a_prompt_agree():
    """Ten positions in each of 30 prompts, alike within a prompt: an interval over positions is far too narrow."""
    rng = np.random.default_rng(2)
    fires = np.arange(30) < 15
    scores = np.repeat(rng.normal(size=(30, 400)) + fires[:, None], 10, axis=0) + 0.01 * rng.normal(size=(300, 400))
    effective = kish(np.full(15, 10.0))
    covered = {"prompts": 0, "positions": 0}
    for value in auroc(scores, np.repeat(fires, 10)).tolist():
        for unit, count in (("prompts", effective), ("positions", 150)):
            got = auroc_interval(value, count, count, 0.95)
            covered[unit] += got.low <= 0.7602 <= got.high
    assert covered["prompts"] / 400 >= 0.93
    assert covered["positions"] / 400 < 0.7


@pytest.mark.parametrize("bad", [(1.2, 3, 3), (0.5, 0, 3)])
def test_an_impossible_auroc_is_an_error(bad):
    with pytest.raises(ValueError, match="no interval"):
        auroc_interval(*bad, 0.95)


def test_kish_counts_clusters_and_the_rule_of_three_is_exact():
    assert kish(np.full(7, 3.0)) == pytest.approx(7)
    assert kish(np.array([98.0, 1, 1])) == pytest.approx(1.04, abs=0.01)
    assert kish(np.zeros(3)) == 0
    assert (1 - unseen_share(60, 0.95)) ** 60 == pytest.approx(0.05)
    with pytest.raises(ValueError, match="nothing"):
        unseen_share(0, 0.95)


def sums(a_GP, b_GP):
    return np.stack([np.full(len(a_GP), a_GP.shape[1]), *(x.sum(1) for x in (a_GP, b_GP, a_GP**2, b_GP**2, a_GP * b_GP))], 1)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 1000))
def test_a_correlation_interval_has_width_and_contains_the_value(prompts, likeness, seed):
    rng = np.random.default_rng(seed)
    a = rng.random((prompts, 4)) + 0.01
    b = likeness * a + (1 - likeness) * rng.random((prompts, 4))
    value = float(np.clip(np.corrcoef(a.ravel(), b.ravel())[0, 1], -1, 1))
    got = correlation_intervals([sums(a, b)], [value], seed=0, level=0.95, draws=200)[0]
    assert -1 <= got.low <= value <= got.high <= 1
    assert got.high - got.low >= unseen_share(prompts, 0.95) * 0.99


def test_a_perfect_correlation_on_few_prompts_is_not_certain_and_many_prompts_narrow_it():
    a = np.random.default_rng(0).random((50, 3))
    few, many = (correlation_intervals([sums(x, x)], [1.0], seed=0, level=0.95)[0] for x in (a[:5], a))
    assert few.low == pytest.approx(1 - unseen_share(5, 0.95))
    assert few.low < many.low < 1 == many.high


def test_correlation_intervals_cover_clustered_positions():
    rng = np.random.default_rng(5)
    inside = 0
    for trial in range(100):
        level = rng.normal(size=(60, 1))  # shared by a prompt's positions
        a, b = (np.repeat(level + rng.normal(size=(60, 1)), 10, axis=1) for _ in range(2))
        value = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        got = correlation_intervals([sums(a, b)], [value], seed=trial, level=0.95, draws=300)[0]
        inside += got.low <= 0.5 <= got.high
    assert inside >= 90
