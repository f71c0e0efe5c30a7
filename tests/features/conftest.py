"""Firing patterns made by hand, so that every expected figure can be computed on paper."""

import numpy as np
import pytest
from scipy import sparse

from gate.features.firing import Firing


@pytest.fixture
def make_firing():
    """make_firing(acts [N][F], surprise [N], document [N], answer=None, prompt=None, author=None)."""

    def make(acts, surprise, document, answer=None, decision=None, prompt=None, author=None):
        documents = max(document) + 1
        return Firing(
            acts=sparse.csc_matrix(np.array(acts, dtype=float)),
            surprise_N=np.array(surprise, dtype=float),
            document_N=np.array(document),
            answer_N=np.array(answer if answer is not None else [True] * len(document)),
            decision_N=np.array(decision if decision is not None else [False] * len(document)),
            prompt_D=np.array(prompt if prompt is not None else range(documents)),
            author_D=np.array(author if author is not None else [1] * documents),
        )

    return make
