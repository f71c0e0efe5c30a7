"""Surprise lift: a weighted mean less the corpus mean, with an interval over prompts."""

import numpy as np
import pytest

from gate.features.surprise import best_lift, surprise_lift


def test_lift_is_the_activation_weighted_mean_less_the_corpus_mean(make_firing):
    firing = make_firing([[2, 0], [1, 0], [0, 3], [0, 0]], [4.0, 1.0, 0.0, -1.0], [0, 1, 2, 3])
    lift = surprise_lift(firing, 1, firing.answer_N, seed=0, level=0.95)
    assert lift.value[0] == pytest.approx((2 * 4 + 1 * 1) / 3 - 1.0)
    assert lift.value[1] == pytest.approx(0.0 - 1.0)
    assert lift.documents.tolist() == [2, 1]


def test_positions_outside_answers_do_not_count(make_firing):
    firing = make_firing([[5], [1]], [9.0, 1.0], [0, 0], answer=[False, True])
    lift = surprise_lift(firing, 1, firing.answer_N, seed=0, level=0.95)
    assert lift.value[0] == pytest.approx(0.0)


def test_a_latent_that_never_fires_has_no_lift(make_firing):
    lift = best_lift(make_firing([[0], [0]], [1.0, 2.0], [0, 1], decision=[True, True]), 1, seed=0, level=0.95)
    assert lift.documents[0] == 0
    assert np.isfinite([lift.value[0], lift.low[0], lift.high[0]]).all()


def test_interval_is_over_prompts_so_many_tokens_of_few_prompts_do_not_narrow_it(make_firing):
    rng = np.random.default_rng(0)
    levels = rng.normal(3, 2, 40)
    one_each = make_firing(np.eye(1).repeat(40, 0), levels, range(40))
    many = make_firing(np.ones((400, 1)), np.repeat(levels, 10), np.repeat(np.arange(40), 10))
    widths = []
    for firing in (one_each, many):
        # a silent half gives the corpus mean something to differ from
        lift = surprise_lift(firing, 1, firing.answer_N, seed=1, level=0.95)
        widths.append(lift.high[0] - lift.low[0])
    assert widths[1] == pytest.approx(widths[0], rel=0.05, abs=1e-6)


def test_interval_contains_the_value_and_is_deterministic(make_firing):
    rng = np.random.default_rng(3)
    firing = make_firing(rng.random((60, 4)) * (rng.random((60, 4)) < 0.3), rng.normal(size=60), np.repeat(range(20), 3))
    first, again = (surprise_lift(firing, 1, firing.answer_N, seed=5, level=0.95) for _ in range(2))
    assert (first.low <= first.value).all()
    assert (first.value <= first.high).all()
    assert np.array_equal(first.low, again.low)


def test_each_author_is_measured_on_what_it_wrote_and_on_what_both_wrote(make_firing):
    firing = make_firing([[1], [1], [1], [0]], [6.0, 2.0, 0.0, 0.0], range(4), author=[1, -1, 0, 0])
    incoming = surprise_lift(firing, 1, firing.answer_N, seed=0, level=0.95)
    baseline = surprise_lift(firing, -1, firing.answer_N, seed=0, level=0.95)
    assert incoming.value[0] == pytest.approx((6 + 0) / 2 - 6 / 3)
    assert baseline.value[0] == pytest.approx((2 + 0) / 2 - 2 / 3)


def test_a_latent_that_fires_all_through_an_answer_is_measured_where_the_answer_is_chosen(make_firing):
    """Forty answers of four positions; half of them surprise, with their first word only."""
    acts = [[1]] * 80 + [[0]] * 80
    surprise = [9.0, 0, 0, 0] * 20 + [0.0] * 80
    decision = [True, False, False, False] * 40
    firing = make_firing(acts, surprise, np.repeat(range(40), 4), decision=decision)
    whole = surprise_lift(firing, 1, firing.answer_N, seed=0, level=0.95)
    best = best_lift(firing, 1, seed=0, level=0.95)
    assert whole.value[0] == pytest.approx(9 / 4 - 9 / 8)
    assert best.value[0] == pytest.approx(9 - 9 / 2)
    assert best.at_decision[0]


def test_prompts_that_all_agree_leave_the_lift_uncertain(make_firing):
    """Each of 12 prompts: one position that fires and surprises by 4 nats, one that does neither."""
    firing = make_firing([[1], [0]] * 12, [4.0, 0.0] * 12, np.repeat(range(12), 2))
    lift = surprise_lift(firing, 1, firing.answer_N, seed=0, level=0.95)
    assert lift.value[0] == pytest.approx(2)
    assert lift.high[0] - lift.value[0] == pytest.approx(lift.value[0] - lift.low[0])
    assert 0.3 < lift.value[0] - lift.low[0] < 0.6
