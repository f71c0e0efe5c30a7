"""Harvest across tokenizers, templates and widths, on real tiny models."""

import pytest
import torch

from gate.activations.align import align
from gate.activations.harvest import harvest
from gate.activations.shards import load_coverage, load_paired, save_paired
from gate.activations.types import Document
from gate.errors import IncomparableError, StoreError


@pytest.fixture(scope="module")
def harvested(engines, texts):
    answered, documents = texts
    return harvest(*engines, (1, 2), documents, answered)


def test_both_sides_keep_their_own_width(harvested):
    paired, _ = harvested
    assert paired.baseline.shape[1] == 32
    assert paired.incoming.shape[1] == 48
    assert len(paired.baseline) == len(paired.incoming) == len(paired.surprise) == len(paired.end)


def test_positions_are_those_of_the_alignment_and_residuals_those_of_the_engine(engines, texts, harvested):
    answered, documents = texts
    paired, coverage = harvested
    for index in (0, len(documents) - 1):
        document = documents[index]
        sides = [
            engine.render(answered[document.answered].prompt, document.text)
            if document.answered >= 0
            else engine.render_text(document.text)
            for engine in engines
        ]
        pairs = align(*sides)
        mine = paired.document == index
        assert paired.end[mine].tolist() == [pair.end for pair in pairs]
        ((_, residual, _),) = engines[1].harvest([sides[1].ids], 2)
        expected = residual[[pair.incoming for pair in pairs]]
        torch.testing.assert_close(paired.incoming[mine], expected, atol=1e-4, rtol=1e-4)
    assert 0 < coverage.share <= 1


def test_surprise_is_zero_in_prompts_plain_text_and_at_the_end_and_matches_hand_computation(engines, texts, harvested):
    answered, documents = texts
    paired, _ = harvested
    assert (paired.surprise[~paired.answer] == 0).all()
    index = next(i for i, d in enumerate(documents) if d.author == "incoming" and d.text.strip())
    mine = torch.nonzero(paired.document == index).ravel()
    assert paired.surprise[mine[-1]] == 0
    sides = [engine.render(answered[documents[index].answered].prompt, documents[index].text) for engine in engines]
    pairs = align(*sides)
    start = next(i for i, pair in enumerate(pairs) if pair.end == -1)
    gains = []
    for engine, side, token in zip(engines, sides, ("baseline", "incoming"), strict=True):
        ((_, _, logprob),) = engine.harvest([side.ids], 1)
        first, then = getattr(pairs[start], token), getattr(pairs[start + 1], token)
        gains.append(float(logprob[first + 1 : then + 1].sum()))
    expected = max(-20.0, min(20.0, gains[1] - gains[0]))
    assert float(paired.surprise[mine[start]]) == pytest.approx(expected, abs=1e-3)


def test_decision_is_flagged_once_per_answer(texts, harvested):
    paired, _ = harvested
    _, documents = texts
    counts = torch.bincount(paired.document[paired.decision], minlength=len(documents))
    assert counts.tolist() == [1 if document.answered >= 0 else 0 for document in documents]


def test_text_that_nowhere_aligns_is_incomparable(engines):
    with pytest.raises(IncomparableError, match="aligns"):
        harvest(*engines, (1, 1), [Document(answered=-1, text="a", author=None, group="text", behaviour=None)], [])


def test_shards_round_trip_and_damage_is_noticed(harvested, tmp_path, monkeypatch):
    paired, coverage = harvested
    monkeypatch.setattr("gate.activations.shards.SHARD_POSITIONS", 40)
    save_paired(tmp_path, paired, coverage)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    again = load_paired(tmp_path)
    assert torch.equal(again.incoming, paired.incoming)
    assert torch.equal(again.document, paired.document)
    assert load_coverage(tmp_path) == coverage
    shards[0].write_bytes(shards[0].read_bytes()[:100])
    with pytest.raises(StoreError, match="damaged"):
        load_paired(tmp_path)
