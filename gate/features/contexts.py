"""The documents a latent fires in most, cut into the pieces it fires on, with both models' answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gate.activations.align import DECISION
from gate.activations.types import Answered, Document, Paired
from gate.features.firing import Firing, max_by
from gate.features.types import Context, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTEXTS = 6
DECISION_MARK = "⏎"  # stands for the template between prompt and answer: where the answer is chosen
MAX_CHARACTERS = 1200


def top_contexts(
    latent: int,
    author: int,
    firing: Firing,
    paired: Paired,
    documents: Sequence[Document],
    answered: Sequence[Answered],
    limit: int = CONTEXTS,
) -> tuple[Context, ...]:
    """The strongest documents, at most one per prompt, those of the given author (1 or -1) first."""
    positions, values = firing.column(latent)
    best_D = max_by(firing.document_N, len(documents), positions, values)
    preferred_D = (firing.author_D == author) & (best_D > 0)
    order = np.lexsort((np.arange(len(documents)), -best_D, ~preferred_D))
    chosen: dict[int, int] = {}
    for document in order:
        if best_D[document] > 0 and len(chosen) < limit:
            chosen.setdefault(int(firing.prompt_D[document]), int(document))
    peak = float(values.max()) if len(values) else 1.0
    return tuple(_context(document, latent, peak, firing, paired, documents, answered) for document in chosen.values())


def _context(
    document: int,
    latent: int,
    peak: float,
    firing: Firing,
    paired: Paired,
    documents: Sequence[Document],
    answered: Sequence[Answered],
) -> Context:
    start, stop = (int(i) for i in np.searchsorted(firing.document_N, [document, document + 1]))
    positions, values = firing.column(latent)
    inside = (positions >= start) & (positions < stop)
    acts_P = np.zeros(stop - start)
    acts_P[positions[inside] - start] = values[inside] / peak
    ends_P = paired.end[start:stop].numpy()
    surprise_P = firing.surprise_N[start:stop]
    item = documents[document]
    pair = answered[item.answered] if item.answered >= 0 else None
    prompt = pair.prompt.text if pair else ""
    content = item.text if pair is None else "".join(m.content for m in pair.prompt.messages) + item.text
    fired = surprise_P[acts_P > 0]
    return Context(
        prompt=prompt,
        author=item.author,
        spans=_spans(content, len(content) - len(item.text) - len(prompt), ends_P, acts_P),
        baseline_answer=pair.baseline if pair else "",
        incoming_answer=pair.incoming if pair else "",
        surprise=float(fired.max()) if len(fired) else 0.0,
    )


def _spans(content: str, start: int, ends_P: NDArray[np.int64], acts_P: NDArray[np.float64]) -> tuple[Span, ...]:
    """Pieces of content[start:] between aligned positions; each carries the activation at the position that ends it."""
    spans, at = [], start
    for end, act in zip(ends_P, acts_P, strict=True):
        if end == DECISION:
            spans.append(Span(text=DECISION_MARK, activation=min(1.0, float(act))))
        elif end > at:
            spans.append(Span(text=content[at:end], activation=min(1.0, float(act))))
            at = int(end)
        if at - start > MAX_CHARACTERS:
            spans.append(Span(text="…", activation=0.0))
            return tuple(spans)
    if at < len(content):
        spans.append(Span(text=content[at:], activation=0.0))
    return tuple(spans)
