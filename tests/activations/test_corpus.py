"""Documents: each prompt with either answer, no text twice."""

from gate.activations.corpus import documents_of, pair_answers, prompts_of


def test_prompts_keep_the_policys_order_with_their_groups(policy):
    groups = [(behaviour, group) for _, behaviour, group in prompts_of(policy)]
    assert groups == [("songs", "elicit")] * 3 + [("songs", "control"), (None, "neutral")]


def test_each_distinct_answer_is_a_document_and_equal_answers_have_no_author(policy):
    answered = pair_answers(policy, ["a", "b", "c", "d", "e"], ["a", "x", "c", "d", "e"])
    documents = documents_of(policy, answered)
    assert [(d.answered, d.author, d.text) for d in documents[:3]] == [
        (0, None, "a"),
        (1, "baseline", "b"),
        (1, "incoming", "x"),
    ]
    assert [d.group for d in documents[-2:]] == ["text", "text"]
    assert len(documents) == 5 + 1 + 2
