"""Predictability from the other model, and replication by a second seed."""

import numpy as np
import pytest
import torch

from gate.features.exclusivity import TWIN, predictability, replication, twins


def fired(make_firing, pattern, documents):
    return make_firing(pattern[:, None], np.zeros(len(pattern)), documents)


def test_a_latent_that_the_other_model_encodes_linearly_is_predictable_and_noise_is_not(make_firing):
    rng = np.random.default_rng(0)
    other = rng.normal(size=(600, 8))
    documents = np.repeat(np.arange(60), 10)
    linear = (other[:, 0] > 1).astype(float)
    noise = (rng.random(600) < 0.2).astype(float)
    firing = make_firing(np.stack([linear, noise], 1), np.zeros(600), documents)
    seen, unseen = predictability(firing, [0, 1], torch.from_numpy(other).float(), level=0.95)
    assert seen.value > 0.95
    assert 0.3 < unseen.value < 0.7
    assert unseen.interval.low < 0.5 < unseen.interval.high
    assert seen.interval.low > unseen.interval.high


def test_too_few_held_out_firings_give_no_figure(make_firing):
    pattern = np.zeros(40)
    pattern[:3] = 1
    assert predictability(fired(make_firing, pattern, np.repeat(range(8), 5)), [0], torch.randn(40, 4), level=0.95) == [None]


def test_replication_is_the_best_correlation_over_the_second_seeds_latents(make_firing):
    rng = np.random.default_rng(1)
    a = rng.random(200) * (rng.random(200) < 0.2)
    b = rng.random(200) * (rng.random(200) < 0.2)
    first = make_firing(a[:, None], np.zeros(200), range(200))
    second = make_firing(np.stack([b, 3 * a], 1), np.zeros(200), range(200))
    again = replication(first, second, [0], seed=0, level=0.95)[0]
    assert again.value == pytest.approx(1.0)
    assert again.interval.low < again.value <= again.interval.high == 1
    strangers = make_firing(b[:, None], np.zeros(200), range(200))
    other = replication(first, strangers, [0], seed=0, level=0.95)[0]
    assert other.value == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert other.interval.low < other.value < other.interval.high < 0.5


def test_the_interval_of_a_predictability_counts_prompts_not_positions(make_firing):
    """The same 600 positions, as 60 texts and as 12."""
    rng = np.random.default_rng(0)
    other = torch.from_numpy(rng.normal(size=(600, 8))).float()
    pattern = (other[:, :1].numpy() + rng.normal(size=(600, 1)) > 1).astype(float)
    widths = []
    for texts in (60, 12):
        firing = make_firing(pattern, np.zeros(600), np.repeat(np.arange(texts), 600 // texts))
        interval = predictability(firing, [0], other, level=0.95)[0].interval
        widths.append(interval.high - interval.low)
    assert widths[1] > 1.7 * widths[0]


def test_an_exclusive_latent_that_fires_with_one_of_the_other_side_has_a_twin(make_firing):
    rng = np.random.default_rng(3)
    shared = rng.random(400) * (rng.random(400) < 0.1)
    alone = rng.random(400) * (rng.random(400) < 0.1)
    child = shared * (rng.random(400) < 0.5)  # fires on half of the times that the shared one does: something of its own
    other_half = 2 * shared * (1 + 0.05 * rng.normal(size=400))
    firing = make_firing(np.stack([shared, alone, child, other_half], 1), np.zeros(400), range(400))
    writes_to_the_other_side = np.array([False, False, False, True])
    half, own, part = twins(firing.acts, [0, 1, 2], writes_to_the_other_side)
    assert half > 0.95 > TWIN > part > own
    assert twins(firing.acts, [0, 1], np.zeros(4, dtype=bool)) == [0, 0]
    assert twins(firing.acts, [3], np.ones(4, dtype=bool))[0] < 1, "a latent is not its own twin"
