"""Where each latent fires, and sums of it per document."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from gate.activations.types import Document, Paired
from gate.crosscoder.types import DFC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Firing(NamedTuple):
    """Sparse activations f [N, F] (CSC: one column per latent) with what is known of each position.

    answer_N: the position lies in the answer (decision position included) of a prompt; decision_N: it is the decision position.
    document_N: document index.
    prompt_D: for each document the prompt it answers; plain texts get indices of their own. author_D: 1 incoming, -1 baseline,
    0 neither.
    """

    acts: sparse.csc_matrix
    surprise_N: Floats
    document_N: Ints
    answer_N: NDArray[np.bool_]
    decision_N: NDArray[np.bool_]
    prompt_D: Ints
    author_D: Ints

    @property
    def latents(self) -> int:
        """F."""
        return int(self.acts.shape[1])

    def column(self, latent: int) -> tuple[Ints, Floats]:
        """Positions at which one latent fires, and its activations there."""
        start, stop = self.acts.indptr[latent], self.acts.indptr[latent + 1]
        return self.acts.indices[start:stop].astype(np.int64), self.acts.data[start:stop].astype(np.float64)


def firing_of(dfc: DFC, paired: Paired, documents: tuple[Document, ...]) -> Firing:
    """Encode every aligned position with a trained DFC."""
    from gate.crosscoder.dfc import encode_sparse

    rows, cols, values = encode_sparse(dfc, paired.baseline, paired.incoming)
    shape = (len(paired.document), dfc.latents)
    acts = sparse.csc_matrix((values.numpy().astype(np.float64), (rows.numpy(), cols.numpy())), shape=shape)
    acts.sort_indices()
    prompts = [document.answered if document.answered >= 0 else -1 - index for index, document in enumerate(documents)]
    authors = [{"incoming": 1, "baseline": -1, None: 0}[document.author] for document in documents]
    return Firing(
        acts=acts,
        surprise_N=paired.surprise.numpy().astype(np.float64),
        document_N=paired.document.numpy(),
        answer_N=paired.answer.numpy(),
        decision_N=paired.decision.numpy(),
        prompt_D=np.unique(np.array(prompts), return_inverse=True)[1],
        author_D=np.array(authors),
    )


def sum_by(groups_N: Ints, count: int, matrix: sparse.csc_matrix) -> Floats:
    """[count, F]: rows of a sparse matrix [N, F] added up by group."""
    rows = len(groups_N)
    indicator = sparse.csr_matrix((np.ones(rows), (groups_N, np.arange(rows))), shape=(count, rows))
    return np.asarray((indicator @ matrix).todense())


def max_by(groups_N: Ints, count: int, positions: Ints, values: Floats) -> Floats:
    """[count]: the largest of `values` (at `positions`) in each group, 0 where there is none."""
    best = np.zeros(count)
    np.maximum.at(best, groups_N[positions], values)
    return best
