"""Length scorer: how many words an answer has."""

from __future__ import annotations

from collections.abc import Callable

from gate.policy.types import LengthScorer


def build_length(spec: LengthScorer) -> Callable[[str], bool]:
    """True iff the answer has `min_words` to `max_words` words (both inclusive; no upper bound where `max_words` is None).

    A word is a run of non-whitespace characters: in scripts without spaces count characters with a lexical scorer instead.
    """

    def exhibits(answer: str) -> bool:
        words = len(answer.split())
        return words >= spec.min_words and (spec.max_words is None or words <= spec.max_words)

    return exhibits
