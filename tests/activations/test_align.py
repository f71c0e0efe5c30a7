"""Alignment: equal content offsets, whatever the tokens around them."""

from hypothesis import given
from hypothesis import strategies as st

from gate.activations.align import DECISION, Aligned, align, content_tokens
from gate.models.types import Rendered

TEMPLATE = (-1, -1)


def rendered(cuts, *, answer_from=None, lead=1):
    """A text cut at the given offsets; template tokens lead and stand before the answer."""
    content, decision = [TEMPLATE] * lead, -1
    for start, end in zip([0, *cuts], cuts, strict=False):
        if start == answer_from:
            content.append(TEMPLATE)
            decision = len(content) - 1
        content.append((start, end))
    return Rendered(tuple(range(len(content))), tuple(content), decision)


def test_equal_ends_are_paired_and_straddling_tokens_are_not():
    old = rendered([3, 5, 9, 12])
    new = rendered([2, 5, 12])
    assert align(old, new) == [Aligned(2, 2, 5), Aligned(4, 3, 12)]


def test_decision_position_is_paired_explicitly_between_prompt_and_answer():
    old = rendered([3, 5, 9], answer_from=5)
    new = rendered([5, 7, 9], answer_from=5, lead=4)
    assert align(old, new) == [Aligned(2, 4, 5), Aligned(3, 5, DECISION), Aligned(4, 7, 9)]


def test_of_several_tokens_that_end_at_one_character_the_last_has_read_it():
    emoji = Rendered((9, 1, 2, 3), (TEMPLATE, (0, 1), (0, 1), (0, 1)), -1)
    plain = Rendered((9, 7), (TEMPLATE, (0, 1)), -1)
    assert align(emoji, plain) == [Aligned(3, 1, 1)]


def test_position_zero_is_an_attention_sink_and_left_out():
    same = rendered([4, 8], lead=0)
    assert align(same, same) == [Aligned(1, 1, 8)]


def test_no_common_end_gives_no_position():
    assert align(rendered([3, 7]), rendered([2, 6])) == []


def test_content_tokens_leave_the_template_out():
    assert content_tokens(rendered([3, 5, 9], answer_from=5, lead=2)) == 3


cuts = st.lists(st.integers(1, 60), min_size=1, max_size=30, unique=True).map(sorted)


@given(cuts, cuts)
def test_alignment_is_monotone_symmetric_and_exactly_the_common_ends(first, second):
    old, new = rendered(first), rendered(second)
    pairs = align(old, new)
    assert {pair.end for pair in pairs} == set(first) & set(second)
    assert [pair.end for pair in pairs] == sorted(pair.end for pair in pairs)
    assert [(p.incoming, p.baseline, p.end) for p in pairs] == [tuple(p) for p in align(new, old)]
