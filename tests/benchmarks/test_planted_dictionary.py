"""The planted benchmark: what is planted is there, a perfect dictionary scores perfectly, and rank and duplicates count."""

import numpy as np
import pytest
import torch

from benchmarks.gatebench.beside_matching import Dictionary
from benchmarks.planted_dictionary import Result, candidates, curve, fvu, gate_dfc, hits_of, plant, standard, table
from gate.crosscoder.dfc import Codes
from gate.crosscoder.types import DFCConfig

SHARED, OWN = 16, 4


@pytest.fixture(scope="module", params=[False, True], ids=["independent", "correlated"])
def world(request):
    return plant(3000, (12, 18), request.param, seed=1, shared=SHARED, own=OWN)


def perfect(world, own=OWN):
    """One latent per source, with its own directions and strengths."""
    rows, cols = world.strength_NS.nonzero(as_tuple=True)
    last = world.strength_NS.shape[1]
    latent = np.arange(last)
    removed = (latent >= last - 2 * own) & (latent < last - own)
    codes = Codes(rows, cols, world.strength_NS[rows, cols])
    return Dictionary(codes, *world.directions, (1.0, 1.0), removed, latent >= last - own)


def test_exclusive_sources_are_seen_by_one_side_and_children_only_with_their_parents(world):
    old, new = world.directions
    assert (old[SHARED + OWN :] == 0).all()
    assert (new[SHARED : SHARED + OWN] == 0).all()
    assert old.shape[0] > old.shape[1]  # superposition
    again = plant(3000, (12, 18), False, seed=1, shared=SHARED, own=OWN)
    on = again.strength_NS > 0
    assert 3 < on.float().sum(1).mean() < 7


def test_children_fire_only_where_a_shared_source_fires():
    on = plant(3000, (12, 18), True, seed=1, shared=SHARED, own=OWN).strength_NS > 0
    child = on[:, SHARED]
    assert child.any()
    assert any(not (child & ~on[:, parent]).any() for parent in range(SHARED))


def test_the_true_dictionary_gets_every_source_without_a_miss(world):
    ranked = candidates(perfect(world), world, OWN)
    hits = hits_of(ranked.match_CS)
    assert curve(hits, 2 * OWN) == (2 * OWN, 1.0)
    assert hits_of(ranked.match_CS[ranked.called_C]).tolist() == [True] * (2 * OWN)
    assert ranked.any_S.all()
    assert max(fvu(perfect(world), world.sides)) < 0.05


def test_a_wrong_direction_or_a_wrong_firing_claims_nothing(world):
    right = perfect(world)
    turned = right._replace(decoder_incoming=right.decoder_incoming.flip(1))
    shifted = right._replace(codes=right.codes._replace(cols=(right.codes.cols + 1) % world.strength_NS.shape[1]))
    assert not hits_of(candidates(turned, world, OWN).match_CS[:, -OWN:]).any()
    assert hits_of(candidates(shifted, world, OWN).match_CS).sum() < OWN


def test_a_second_latent_for_a_source_and_a_bad_rank_cost_precision():
    match = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 0.7]])
    hits = hits_of(match)
    assert hits.tolist() == [True, False, True]
    assert curve(hits, 2) == (1, pytest.approx((1 + 2 / 3) / 2))
    assert curve(np.array([False, True, True]), 2) == (0, pytest.approx((1 / 2 + 2 / 3) / 2))
    assert curve(np.zeros(3, dtype=bool), 2) == (0, 0.0)


@pytest.mark.parametrize("run", [gate_dfc, standard])
def test_both_trainers_give_a_dictionary_that_can_be_judged(run, world):
    config = DFCConfig(latents=32, exclusive_share=0.1, k=4, steps=40, batch=128)
    dictionary = run([x[:2000] for x in world.sides], world.sides, config)
    assert not (dictionary.removed & dictionary.added).any()
    assert 0 < max(fvu(dictionary, world.sides)) < 0.8
    assert torch.isfinite(torch.from_numpy(candidates(dictionary, world, OWN).match_CS)).all()


def test_the_table_adds_seeds_up():
    rows = [Result("w", "m", seed, 20, 10, 12, 9, 15, 0.5, (0.1, 0.2), 8.0, 1.0) for seed in (0, 1)]
    assert "| w | m | 20 of 40 [34%, 66%] | 18 of 24 | 30 of 40 | 0.50 | 0.100, 0.200 | 8.0 | 1.0 |" in table(rows)
