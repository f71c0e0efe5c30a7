"""Features that fire in the same prompts belong together."""

import numpy as np

from gate.features.families import families_of
from tests.reports.sample_parts import feature


def test_overlapping_features_are_a_family_and_others_are_not(make_firing):
    acts = np.zeros((6, 3))
    acts[[0, 1, 2], 0] = 1
    acts[[1, 2, 3], 1] = 1
    acts[[4, 5], 2] = 1
    firing = make_firing(acts, np.zeros(6), range(6))
    mine = [feature(f"+{i}", "added", 5.0, [], [], latent=i, significant=True) for i in range(3)]
    families = families_of(mine, firing)
    assert families == {"+0": ("+1",), "+1": ("+0",), "+2": ()}


def test_insignificant_features_join_no_family(make_firing):
    firing = make_firing(np.ones((4, 2)), np.zeros(4), range(4))
    mine = [
        feature("+0", "added", 5.0, [], [], latent=0, significant=True),
        feature("+1", "added", 5.0, [], [], latent=1, significant=False),
    ]
    assert families_of(mine, firing) == {"+0": ()}
