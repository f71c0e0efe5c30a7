"""Directions, subspaces and their controls."""

import numpy as np
import pytest
import torch
from scipy import sparse

from gate.features.firing import Firing
from gate.probes.directions import (
    OPENING,
    displacement,
    mean_activations,
    opening_positions,
    random_directions,
    random_subspaces,
    span,
)


def firing(acts, document, answer):
    return Firing(
        acts=sparse.csc_matrix(np.array(acts, dtype=float)),
        surprise_N=np.zeros(len(document)),
        document_N=np.array(document),
        answer_N=np.array(answer),
        decision_N=np.zeros(len(document), dtype=bool),
        prompt_D=np.arange(max(document) + 1),
        author_D=np.ones(max(document) + 1),
    )


def test_opening_is_the_first_answer_positions_of_each_document():
    answer = [False, False] + [True] * 7 + [False] + [True] * 2 + [False] * 3
    document = [0] * 9 + [1] * 3 + [2] * 3
    found = opening_positions(firing(np.zeros((15, 1)), document, answer))
    assert np.flatnonzero(found).tolist() == [*range(2, 2 + OPENING), 10, 11]


def test_mean_activations_over_positions_and_zero_where_there_are_none():
    fired = firing([[9.0], [2.0], [4.0]], [0, 0, 0], [True] * 3)
    assert mean_activations(fired, [0], np.array([False, True, True])) == pytest.approx([3.0])
    assert mean_activations(fired, [0], np.zeros(3, dtype=bool)) == pytest.approx([0.0])


def test_displacement_is_the_difference_of_means_within_the_span():
    residual = torch.tensor([[1.0, 5.0, 0.0], [3.0, 7.0, 0.0], [0.0, 1.0, 9.0]])
    space = span(torch.tensor([[2.0, 0.0, 0.0]]), residual)
    found = displacement(space, residual, np.array([True, True, False]), np.array([False, False, True]))
    torch.testing.assert_close(found, torch.tensor([2.0, 0.0, 0.0]))


def test_span_is_orthonormal_and_drops_dependent_rows():
    rows = torch.tensor([[1.0, 0, 0, 0], [2.0, 0, 0, 0], [0, 3.0, 0, 0]])
    space = span(rows, torch.tensor([[1.0, 2.0, 9.0, 9.0], [3.0, 4.0, 9.0, 9.0]]))
    assert space.basis.shape == (2, 4)
    torch.testing.assert_close(space.basis @ space.basis.T, torch.eye(2))
    held = space.basis.T @ space.target
    torch.testing.assert_close(held, torch.tensor([2.0, 3.0, 0.0, 0.0]))


def test_controls_have_the_targets_norm_and_rank_and_the_seeds_word():
    vector = torch.randn(16)
    first, again, other = (random_directions(vector, 8, seed) for seed in (1, 1, 2))
    assert len(first) == 8
    for direction in first:
        assert float(direction.norm()) == pytest.approx(float(vector.norm()), rel=1e-5)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(torch.stack(first), torch.stack(other))
    residual = torch.randn(50, 16)
    space = span(torch.randn(3, 16), residual)
    for control in random_subspaces(space, residual, residual[:10], 8, 0):
        assert control.basis.shape == space.basis.shape
        torch.testing.assert_close(control.target, (residual[:10] @ control.basis.T).mean(0), atol=1e-5, rtol=1e-5)
