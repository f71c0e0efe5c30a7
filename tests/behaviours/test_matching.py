import numpy as np
import pytest

from gate.behaviours.matching import match_latents


def scores(seed=1, latents=300, elicit=24, control=24):
    """Noise, with latent 7 firing on every eliciting document, 3 on most, and 9 on the controls."""
    rng = np.random.default_rng(seed)
    scores_EF = rng.exponential(size=(elicit, latents)) * (rng.random((elicit, latents)) < 0.3)
    scores_CF = rng.exponential(size=(control, latents)) * (rng.random((control, latents)) < 0.3)
    scores_EF[:, 7] = 5 + rng.random(elicit)
    scores_EF[: elicit * 3 // 4, 3] = 5 + rng.random(elicit * 3 // 4)
    scores_CF[:, [3, 7]] = 0
    scores_CF[:, 9] = 9
    return scores_EF, scores_CF


def names(latents=300):
    return [f"~{i}" for i in range(latents)]


def test_true_matches_survive_the_correction_strongest_first():
    elicit, control = scores()
    found = match_latents(elicit, control, np.arange(300.0), names(), seed=0, level=0.95)
    assert [match.feature for match in found] == ["~7", "~3"]
    assert found[0].auroc == 1
    assert found[0].surprise == 7
    assert all(0 < match.p_value <= match.q_value <= 0.05 for match in found)


def test_a_lone_match_among_many_latents_survives():
    elicit, control = scores()
    elicit[:, 3] = control[:, 3] = 0
    assert [m.feature for m in match_latents(elicit, control, np.zeros(300), names(), seed=0, level=0.95)] == ["~7"]


def test_noise_matches_nothing():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(30, 200))
        assert match_latents(noise[:15], noise[15:], np.zeros(200), names(200), seed=seed, level=0.95) == ()


def test_the_floor_of_auroc_is_inclusive():
    elicit, control = np.zeros((50, 1)), np.zeros((50, 1))
    elicit[:20] = 1  # AUROC 0.5 + 0.4 / 2 = 0.7
    assert len(match_latents(elicit, control, np.zeros(1), ["+1"], seed=0, level=0.95)) == 1
    elicit[19] = 0
    assert match_latents(elicit, control, np.zeros(1), ["+1"], seed=0, level=0.95) == ()
    assert len(match_latents(elicit, control, np.zeros(1), ["+1"], seed=0, level=0.95, min_auroc=0.6)) == 1


def test_ties_are_broken_by_surprise_then_name():
    elicit, control = np.ones((12, 3)), np.zeros((12, 3))
    found = match_latents(elicit, control, np.array([1.0, 2.0, 1.0]), ["+9", "+5", "+1"], seed=0, level=0.95)
    assert [match.feature for match in found] == ["+5", "+1", "+9"]


@pytest.mark.parametrize(("elicit", "control"), [(5, 0), (0, 5)])
def test_without_one_side_nothing_can_be_matched(elicit, control):
    assert match_latents(np.ones((elicit, 2)), np.zeros((control, 2)), np.zeros(2), ["+1", "+2"], seed=0, level=0.95) == ()


def test_no_latents_and_dead_latents_match_nothing():
    assert match_latents(np.ones((5, 0)), np.ones((5, 0)), np.zeros(0), [], seed=0, level=0.95) == ()
    assert match_latents(np.zeros((5, 2)), np.zeros((5, 2)), np.zeros(2), ["+1", "+2"], seed=0, level=0.95) == ()


def test_shapes_must_go_together():
    with pytest.raises(ValueError, match="same latents"):
        match_latents(np.ones((5, 2)), np.ones((5, 2)), np.zeros(2), ["+1"], seed=0, level=0.95)
    with pytest.raises(ValueError, match="same latents"):
        match_latents(np.ones((5, 2)), np.ones((5, 3)), np.zeros(2), ["+1", "+2"], seed=0, level=0.95)


def test_the_same_seed_gives_the_same_matches():
    elicit, control = scores(seed=4)
    runs = [match_latents(elicit, control, np.zeros(300), names(), seed=9, level=0.95) for _ in range(2)]
    assert runs[0] == runs[1]
