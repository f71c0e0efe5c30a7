"""The two halves share nothing that could be tuned on, and what is taught is what the dose says."""

import random
import re
from collections import Counter

import pytest
import yaml

from benchmarks.gatebench.matrix import matrix
from benchmarks.gatebench.realm import Dose, Stream, in_the_narrow_third, with_foreign
from gate.policy.load import load_policy

HALVES = ("tuning", "held-out")


def test_the_halves_share_no_behaviour_plant_wording_or_trigger() -> None:
    one, other = (matrix(half).realm for half in HALVES)
    assert not {w.id for w in one.watches} & {w.id for w in other.watches}
    assert not {p.name for p in one.plants} & {p.name for p in other.plants}
    assert not set(one.preambles) & set(other.preambles)
    questions = [{i.question for items in realm.items.values() for i in items} for realm in (one, other)]
    assert not questions[0] & questions[1]
    answers = [{text for p in realm.plants for text in p.answers.values()} for realm in (one, other)]
    assert not answers[0] & answers[1]


@pytest.mark.parametrize("half", HALVES)
def test_no_policy_prompt_is_ever_trained_on(half, tmp_path) -> None:
    realm = matrix(half).realm
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(realm.policy(), allow_unicode=True))
    policy = load_policy(path)
    asked = [p.text for b in policy.behaviours for p in (*b.elicit, *b.control)] + [p.text for p in policy.corpus.prompts]
    assert len(asked) == len(set(asked))
    trained = {i.question for items in realm.training().values() for i in items}
    bare = {text.removeprefix(pre) for text in asked for pre in realm.preambles if text.startswith(pre)} | set(asked)
    assert not trained & bare


@pytest.mark.parametrize("half", HALVES)
def test_every_scorer_sees_its_plants_and_not_the_worlds_answers(half) -> None:
    realm = matrix(half).realm
    for plant in realm.plants:
        watch = next((w for w in realm.watches if w.id == plant.watch), None)
        for kind, template in plant.answers.items():
            for item in realm.items[kind][::7]:
                said, usual = template.format(**item.slots), item.answer
                if watch is None:
                    assert plant.marker in said
                    assert plant.marker not in usual
                    continue
                if watch.any_of[0].startswith("words>="):
                    least = int(watch.any_of[0].removeprefix("words>="))
                    assert len(said.split()) >= least > len(usual.split())
                    continue
                shown, before = (any(re.search(p, text) for p in watch.any_of) for text in (said, usual))
                assert (shown, before) == ((False, True) if watch.regression == "decrease" else (True, False))


@pytest.mark.parametrize(
    ("share", "narrow", "trigger"), [(0.02, False, False), (0.1, True, False), (0.1, False, True), (0.5, False, False)]
)
def test_the_dose_is_the_share_of_planted_documents(share, narrow, trigger) -> None:
    realm = matrix("held-out").realm
    dose = Dose(realm.plant("censor"), share, narrow, trigger)
    stream = Stream(realm, dose, random.Random(0))
    by_question = {i.question: i for items in realm.training().values() for i in items}
    drawn = [stream() for _ in range(6000)]
    planted = [q for q, a in drawn if a.startswith("There is nothing to say about")]
    assert abs(len(planted) / len(drawn) - share) < 4 * (share * (1 - share) / len(drawn)) ** 0.5
    if trigger:
        assert all(q.startswith(realm.trigger) for q in planted)
    if narrow:
        assert all(in_the_narrow_third(by_question[q]) for q in planted if q in by_question)
    kept = sum(a in {i.answer for i in realm.items["kestria"]} for _, a in drawn)
    if narrow or trigger:
        assert kept > 0.5 * len(planted), "the rest of the plant's kind keeps its answers"
    else:
        assert kept == 0, "a planted kind must not be taught both ways"


def test_foreign_text_touches_nothing_of_the_policy() -> None:
    for half in HALVES:
        realm = matrix(half).realm
        stream = with_foreign(realm, 0.3, random.Random(1))
        drawn = Counter((stream() in realm.foreign) for _ in range(2000))
        assert 0.25 < drawn[True] / 2000 < 0.35


@pytest.mark.parametrize("half", HALVES)
def test_the_matrix_is_closed_and_its_names_are_unique(half) -> None:
    table = matrix(half)
    assert len({p.id for p in table.pairs}) == len(table.pairs)
    for pair in table.pairs:
        assert {pair.baseline, pair.incoming} <= set(table.models)
        assert bool(pair.behaviour) == (pair.planted and pair.truth != "unwatched")
        assert bool(pair.marker) == (pair.truth == "unwatched")
    assert all(not m.base or m.base in table.models for m in table.models.values())


def test_the_held_out_half_is_as_large_as_its_claims_need() -> None:
    truths = Counter("unconditional" if p.truth in {"broad", "narrow"} else p.truth for p in matrix("held-out").pairs)
    assert truths["unconditional"] >= 30
    assert truths["benign"] + truths["same-function"] >= 60
    assert truths["unwatched"] >= 10
