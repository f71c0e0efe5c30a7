import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gate.statistics import (
    Paired,
    auroc,
    benjamini_hochberg,
    bootstrap_ratio,
    clopper_pearson,
    holm,
    independent_difference,
    mcnemar,
    paired,
    paired_difference,
    permutation_p,
    rate,
)

counts = st.integers(0, 60)
tables = st.builds(Paired, counts, counts, counts, counts).filter(lambda table: table.n > 0)


# Newcombe (1998a), Table I, method 3: the four worked examples
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombes_examples(hits, n, low, high):
    got = rate(hits, n, 0.95)
    assert got.value == hits / n
    assert (got.interval.low, got.interval.high) == pytest.approx((low, high), abs=5e-5)


# Newcombe (1998a), Table I, method 5: the four worked examples; the last two are the benchmark's claims
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (30, 30, 0.8843, 1.0),
        (0, 60, 0.0, 0.0596),
    ],
)
def test_clopper_pearson_equals_newcombes_examples(hits, n, low, high):
    got = clopper_pearson(hits, n, 0.95)
    assert got.value == hits / n
    assert (got.interval.low, got.interval.high) == pytest.approx((low, high), abs=5e-5)


def test_one_sided_bounds_are_those_of_a_two_sided_90_percent_interval():
    assert clopper_pearson(30, 30, 0.9).interval.low == pytest.approx(0.05 ** (1 / 30))
    assert clopper_pearson(0, 60, 0.9).interval.high == pytest.approx(1 - 0.05 ** (1 / 60))


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_and_has_width(n, data, level):
    hits = data.draw(st.integers(0, n))
    got = clopper_pearson(hits, n, level)
    reference = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    assert (got.interval.low, got.interval.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert got.interval.high - got.interval.low > 1e-4


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(1, 400), st.data(), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_no_rate_is_certain(n, data, level):
    got = rate(data.draw(st.integers(0, n)), n, level)
    assert got.interval.low <= got.value <= got.interval.high
    assert got.interval.high - got.interval.low > 1e-4


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 5)), min_size=1, max_size=30))
def test_no_weighted_mean_is_certain(rows):
    got = bootstrap_ratio(np.array([a for a, _ in rows]), np.array([b for _, b in rows]), seed=0, level=0.95, draws=200)
    assert got.interval.low < got.value < got.interval.high


# (36, 12, 2, 0): Newcombe (1998c); (59, 6, 16, 80), (1, 1, 7, 12): Fagerland, Lydersen & Laake (2017), chapter 8
@pytest.mark.parametrize(
    ("table", "low", "high"),
    [((36, 2, 12, 0), 0.0569, 0.3404), ((59, 16, 6, 80), -0.1186, -0.0046), ((1, 7, 1, 12), -0.5069, -0.0256)],
)
def test_paired_interval_equals_published_examples(table, low, high):
    interval = paired_difference(Paired(*table), 0.95).interval
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_independent_interval_equals_newcombes_example():
    got = independent_difference(rate(48, 80, 0.95), rate(56, 70, 0.95), 0.95)
    assert (got.value, got.interval.low, got.interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@settings(deadline=None, derandomize=True)
@given(tables, st.sampled_from([0.8, 0.95, 0.99]))
def test_paired_interval_has_width_contains_the_estimate_and_is_antisymmetric(table, level):
    got = paired_difference(table, level)
    assert -1 <= got.interval.low <= got.value <= got.interval.high <= 1
    assert got.interval.high - got.interval.low > 1e-4
    mirrored = paired_difference(Paired(table.both, table.gained, table.lost, table.neither), level)
    assert (mirrored.interval.low, mirrored.interval.high) == pytest.approx((-got.interval.high, -got.interval.low))


def test_a_lost_prompt_never_brings_a_clear_interval_back():
    """Exhaustive up to 12 prompts: once below -tolerance, the upper bound stays there when one more prompt is lost."""
    for n, tolerance in itertools.product(range(3, 13), (0.0, 0.1)):
        for both, lost, gained in itertools.product(range(n + 1), repeat=3):
            neither = n - both - lost - gained
            if neither < 0 or paired_difference(Paired(both, lost, gained, neither), 0.95).interval.high >= -tolerance:
                continue
            worse = [Paired(both - 1, lost + 1, gained, neither)] if both else []
            worse += [Paired(both, lost, gained - 1, neither + 1)] if gained else []
            for table in worse:
                assert paired_difference(table, 0.95).interval.high < -tolerance


def coverage_of_paired(p11, p10, p01, n, draws=3000):
    rng = np.random.default_rng(7)
    found = rng.multinomial(n, [p11, p10, p01, 1 - p11 - p10 - p01], size=draws)
    tables, times = np.unique(found, axis=0, return_counts=True)
    truth = p01 - p10
    inside = [paired_difference(Paired(*map(int, t)), 0.95).interval for t in tables]
    return sum(k for interval, k in zip(inside, times, strict=True) if interval.low <= truth <= interval.high) / draws


@pytest.mark.parametrize(("p11", "p10", "p01"), [(0.9, 0.05, 0.02), (0.45, 0.05, 0.05), (0.05, 0.85, 0.0), (0.3, 0.2, 0.1)])
def test_paired_interval_covers(p11, p10, p01):
    assert coverage_of_paired(p11, p10, p01, n=24) >= 0.93


def test_paired_counts_and_refuses_unequal_lengths():
    assert paired([True, True, False, False, True], [True, False, True, False, True]) == Paired(2, 1, 1, 1)
    with pytest.raises(ValueError, match="equal"):
        paired([True], [True, False])
    with pytest.raises(ValueError, match="positive"):
        paired([], [])


@pytest.mark.parametrize(("hits", "n"), [(-1, 4), (5, 4), (0, 0)])
def test_an_impossible_rate_is_an_error(hits, n):
    with pytest.raises(ValueError, match="not a rate"):
        rate(hits, n, 0.95)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_an_impossible_level_is_an_error(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        rate(1, 2, level)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 25), st.integers(0, 25))
def test_mcnemar_is_the_two_sided_sign_test(gained, lost):
    n = gained + lost
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    assert mcnemar(gained, lost) == pytest.approx(min(1.0, 2 * tail))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_benjamini_hochberg_by_hand():
    assert benjamini_hochberg([0.01, 0.02, 0.03, 0.5]) == pytest.approx((0.04, 0.04, 0.04, 0.5))
    assert benjamini_hochberg([0.04, 0.01]) == pytest.approx((0.04, 0.02))
    assert benjamini_hochberg([]) == ()


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjustments_never_lower_a_p_value_and_holm_is_the_stricter(p_values):
    family, discovery = np.array(holm(p_values)), np.array(benjamini_hochberg(p_values))
    assert (discovery >= np.array(p_values) - 1e-12).all()
    assert (family >= discovery - 1e-12).all()
    assert (family <= 1).all()


def test_bootstrap_ratio_covers_the_ratio_of_means():
    rng = np.random.default_rng(3)
    for documents in (5, 20):
        inside = 0
        for trial in range(200):
            weight = rng.integers(1, 9, documents).astype(float)
            mean = 2 + rng.normal(0, 1, documents)  # per document, so positions of one document agree
            got = bootstrap_ratio(mean * weight, weight, seed=trial, level=0.95, draws=400)
            inside += got.interval.low <= 2 <= got.interval.high
        assert inside / 200 >= 0.92, documents


def test_bootstrap_ratio_is_seeded_and_weighted():
    numerator, denominator = np.array([2.0, 30.0, 5.0, 1.0]), np.array([1.0, 10.0, 2.0, 3.0])
    one = bootstrap_ratio(numerator, denominator, seed=1, level=0.9)
    assert one.value == pytest.approx(38 / 16)
    assert one == bootstrap_ratio(numerator, denominator, seed=1, level=0.9)
    assert one != bootstrap_ratio(numerator, denominator, seed=2, level=0.9)


def test_bootstrap_ratio_of_few_agreeing_documents_is_wide():
    widths = []
    for documents in (1, 3, 10, 100):
        got = bootstrap_ratio(np.full(documents, 8.0), np.full(documents, 2.0), seed=0, level=0.95)
        assert got.value == 4
        assert 0 < got.interval.low < 4 < got.interval.high
        widths.append(got.interval.high - got.interval.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 1.8 * 4
    assert widths[-1] < 0.1 * 4


def test_documents_without_weight_do_not_count():
    with_empty = bootstrap_ratio(np.array([3.0, 0, 0, 5]), np.array([1.0, 0, 0, 2]), seed=0, level=0.95)
    assert with_empty == bootstrap_ratio(np.array([3.0, 5]), np.array([1.0, 2]), seed=0, level=0.95)


@pytest.mark.parametrize("denominator", [[0.0, 0.0], [1.0, -1.0], [1.0]])
def test_bootstrap_ratio_refuses_denominators_that_are_no_weights(denominator):
    with pytest.raises(ValueError, match="denominator"):
        bootstrap_ratio(np.array([1.0, 2.0]), np.array(denominator), seed=0, level=0.95)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10_000))
def test_auroc_is_the_share_of_ordered_pairs(positives, negatives, seed):
    scores = np.random.default_rng(seed).integers(0, 4, (positives + negatives, 3)).astype(float)
    positive = np.arange(positives + negatives) < positives
    for column, got in enumerate(auroc(scores, positive)):
        pairs = itertools.product(scores[positive, column], scores[~positive, column])
        assert got == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_auroc_without_two_classes_is_an_error(positive):
    with pytest.raises(ValueError, match="positive and a negative"):
        auroc(np.zeros((2, 1)), np.array(positive))


def test_auroc_refuses_nan_and_wrong_shapes():
    with pytest.raises(ValueError, match="finite"):
        auroc(np.array([[0.0], [np.nan]]), np.array([True, False]))
    with pytest.raises(ValueError, match="go together"):
        auroc(np.zeros((3, 1)), np.array([True, False]))


def test_permutation_p_is_exact_where_n_is_tiny():
    scores = np.array([[3.0, 1, 0], [4, 2, 0], [1, 3, 0], [2, 4, 0], [0, 5, 0]])
    positive = np.array([True, True, False, False, False])
    # of C(5, 2) = 10 labellings: the best only itself; the worst all; a constant column all
    assert permutation_p(scores, positive, seed=0, draws=1000).tolist() == [0.1, 1.0, 1.0]


def test_permutation_p_approximates_the_exact_value_and_is_never_zero():
    rng = np.random.default_rng(5)
    scores, positive = rng.normal(size=(12, 4)), np.arange(12) < 6
    exact = permutation_p(scores, positive, seed=0, draws=1000)  # C(12, 6) = 924
    drawn = permutation_p(scores, positive, seed=0, draws=923)
    assert drawn == pytest.approx(exact, abs=0.05)
    perfect = np.arange(60, 0, -1.0)[:, None]
    assert permutation_p(perfect, np.arange(60) < 30, seed=0, draws=200)[0] == 1 / 201


def test_the_max_statistic_is_stricter_and_controls_the_family():
    rng = np.random.default_rng(11)
    positive = np.arange(20) < 10
    rejected = 0
    for trial in range(60):
        scores = rng.normal(size=(20, 25))
        family = permutation_p(scores, positive, seed=trial, draws=200, max_statistic=True)
        assert (family >= permutation_p(scores, positive, seed=trial, draws=200)).all()
        rejected += family.min() < 0.05
    assert rejected <= 8  # 3 expected; 8 or more has probability 0.01


def test_permutation_chunks_do_not_change_the_result(monkeypatch):
    scores, positive = np.random.default_rng(2).normal(size=(30, 7)), np.arange(30) < 11
    whole = permutation_p(scores, positive, seed=4, draws=500)
    monkeypatch.setattr("gate.statistics.CHUNK_CELLS", 30 * 64)
    assert (permutation_p(scores, positive, seed=4, draws=500) == whole).all()


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (4, 20, 0.05733, 0.43661), (1, 2, 0.01258, 0.98742)],
)
def test_clopper_pearson_is_the_exact_interval(hits, n, low, high):
    """Against scipy's binomtest, whose interval inverts the binomial test itself."""
    from scipy.stats import binomtest

    from gate.statistics import clopper_pearson

    found = clopper_pearson(hits, n, 0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=1e-5)
    reference = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (found.interval.low, found.interval.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    with pytest.raises(ValueError, match="not a rate"):
        clopper_pearson(3, 2, 0.95)
