"""Positions at which two models have read exactly the same text, whatever their tokenizers and templates."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from gate.models.types import Rendered

DECISION = -1  # the `end` of the decision position, which covers no content


class Aligned(NamedTuple):
    """One aligned position: token index in either model, and the content offset at which both tokens end (or DECISION)."""

    baseline: int
    incoming: int
    end: int


def align(baseline: Rendered, incoming: Rendered) -> list[Aligned]:
    """The positions where a token of both models ends at the same content offset, and the decision position, in reading order.

    Several tokens may end at one offset (the bytes of one character): the last one has read all of it. Position 0 is left out:
    it is an attention sink whose residual says nothing of the text.
    """
    before, after = _last_token_by_end(baseline), _last_token_by_end(incoming)
    pairs = [Aligned(before[end], after[end], end) for end in before.keys() & after.keys()]
    if baseline.decision > 0 and incoming.decision > 0:
        pairs.append(Aligned(baseline.decision, incoming.decision, DECISION))
    pairs = sorted(pair for pair in pairs if pair.baseline > 0 and pair.incoming > 0)
    assert all(a.incoming < b.incoming for a, b in pairwise(pairs)), "alignment must be monotone"
    return pairs


def content_tokens(rendered: Rendered) -> int:
    """How many tokens carry content: the denominator of coverage."""
    return sum(end > start >= 0 for start, end in rendered.content)


def _last_token_by_end(rendered: Rendered) -> dict[int, int]:
    return {end: token for token, (start, end) in enumerate(rendered.content) if end > start >= 0}
