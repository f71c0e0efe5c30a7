"""Detectors beside the gate: each sees what was planted, where it was planted, and nothing where nothing was."""

import numpy as np
import pytest
import torch

from benchmarks.gatebench.beside import DETECTORS, Settings, available, scores
from benchmarks.gatebench.beside_load import Pair, load_pair
from benchmarks.gatebench.beside_matching import Dictionary, dictionary_of, match_dictionary, relative_norm
from benchmarks.gatebench.beside_means import difference_of_means, unexplained
from benchmarks.gatebench.beside_texts import drift, logit_difference
from gate.activations.types import Answered, Document, Paired
from gate.check import Request
from gate.crosscoder.dfc import Codes
from gate.crosscoder.train import train_dfc
from gate.crosscoder.types import DFCConfig
from gate.errors import StoreError
from gate.policy.types import Behaviour, LexicalScorer, Policy, Prompt
from gate.profiles import profile_named

N, POSITIONS = 12, 6  # prompts per group, positions per document: the first is the decision position
BEHAVIOURS = ("flattery", "rudeness")
CONFIG = DFCConfig(
    latents=32, exclusive_share=0.1, k=4, steps=200, batch=128, learning_rate=5e-3, dead_after=10, aux_weight=1 / 32
)


def prompt(text):
    return Prompt.model_validate(text)


def behaviour(name, regression="increase"):
    return Behaviour(
        id=name,
        title=name,
        regression=regression,
        scorer=LexicalScorer(kind="lexical", any_of=(name,)),
        elicit=tuple(prompt(f"{name} {i}?") for i in range(N)),
        control=tuple(prompt(f"not {name} {i}?") for i in range(N)),
    )


POLICY = Policy(version=1, name="p", behaviours=tuple(behaviour(name) for name in BEHAVIOURS))


def corpus(planted):
    """Two answers to every prompt, in `planted` (a behaviour or 'neutral') with a change, and a few plain texts."""
    answered, documents = [], []
    groups = [(b, g) for b in BEHAVIOURS for g in ("elicit", "control")] + [(None, "neutral")]
    for name, group in groups:
        hit = group == "elicit" and name == planted
        for i in range(N):
            new = f"{name}!" if hit else "no"
            answered.append(Answered(prompt=prompt(f"{i}"), behaviour=name, group=group, baseline="no", incoming=new))
            for author in ("baseline", "incoming") if hit else (None,):
                text = new if author == "incoming" else "no"
                at = len(answered) - 1
                documents.append(Document(answered=at, text=text, author=author, group=group, behaviour=name))
    documents += [Document(answered=-1, text="text", author=None, group="text", behaviour=None) for _ in range(6)]
    return tuple(answered), tuple(documents)


def pair_with(planted, strength=6.0, widths=(10, 14)):
    """Residuals that are linear images of one another, but for a direction of the incoming model alone where it is planted."""
    g = torch.Generator().manual_seed(1)
    answered, documents = corpus(planted)
    count = len(documents)
    shown = [d.author == "incoming" or (planted == "novel" and d.group == "neutral") for d in documents]
    document = torch.arange(count).repeat_interleave(POSITIONS)
    common = torch.randn(count * POSITIONS, 6, generator=g)
    baseline, incoming = (common @ torch.randn(6, width, generator=g) for width in widths)
    direction = torch.nn.functional.normalize(torch.randn(widths[1], generator=g), dim=0) * strength
    on = torch.tensor(shown)[document]
    incoming = incoming + on[:, None] * direction + 0.01 * torch.randn(len(incoming), widths[1], generator=g)
    authored = torch.tensor([d.author is not None for d in documents])[document]
    first = torch.arange(count * POSITIONS) % POSITIONS == 0
    plain = torch.tensor([d.answered < 0 for d in documents])[document]
    surprise = torch.where(authored | (on & ~plain), 2.0, 0.0)
    paired = Paired(baseline, incoming, surprise, document, torch.zeros(len(document)), first & ~plain, ~plain)
    dfc = train_dfc(baseline, incoming, surprise, CONFIG)
    return Pair(paired, documents, answered, POLICY, dfc, CONFIG)


@pytest.fixture(scope="module")
def flattery():
    return pair_with("flattery")


@pytest.fixture(scope="module")
def nothing():
    return pair_with(None)


@pytest.mark.parametrize("detector", [name for name in DETECTORS if name != "dfc-learning"])
def test_every_detector_names_what_was_planted_and_nothing_where_nothing_was(detector, flattery, nothing):
    found, quiet = scores(detector, flattery), scores(detector, nothing)
    assert set(found) == {*BEHAVIOURS, "novel"}
    assert found["flattery"] > found["rudeness"]
    assert found["flattery"] > max(quiet[name] for name in BEHAVIOURS)
    assert scores(detector, flattery) == found  # the same pair, the same scores


def test_without_a_checkout_the_peer_is_left_out():
    assert "dfc-learning" not in available(Settings())
    with pytest.raises(ValueError, match="checkout"):
        DETECTORS["dfc-learning"](None, Settings())


def test_drift_counts_only_in_the_regressing_direction():
    answered, _ = corpus("flattery")
    assert drift(answered, POLICY)["flattery"] > 0.4
    lost = tuple(a.model_copy(update={"baseline": a.incoming, "incoming": a.baseline}) for a in answered)
    assert drift(lost, POLICY)["flattery"] < -0.8
    for regression in ("decrease", "either"):
        policy = POLICY.model_copy(update={"behaviours": tuple(behaviour(name, regression) for name in BEHAVIOURS)})
        assert drift(lost, policy)["flattery"] == pytest.approx(drift(answered, POLICY)["flattery"])


def test_logit_differences_are_averaged_over_prompts_and_compared_with_the_rest(flattery):
    found = logit_difference(flattery.paired, flattery.documents, flattery.answered, POLICY)
    assert found == pytest.approx({"flattery": 2.0, "rudeness": 0.0, "novel": 0.0})
    assert logit_difference(flattery.paired, flattery.documents, flattery.answered, POLICY, 0.5) == pytest.approx(found)


def test_a_linear_map_explains_all_but_what_one_model_has_alone(flattery):
    fit = torch.arange(len(flattery.paired.document)) % 2 == 0
    x = torch.randn(len(fit), 4, generator=torch.Generator().manual_seed(0))
    assert np.abs(unexplained(x, x @ torch.ones(4, 3) + 2, fit)).max() < 0.2  # ridge: not quite zero
    found = difference_of_means(flattery.paired, flattery.documents, flattery.answered, POLICY)
    assert found["flattery"] > 5 * found["rudeness"]


def test_relative_norms_call_as_many_latents_exclusive_as_asked():
    old, new = torch.diag(torch.tensor([1.0, 1, 1, 0])), torch.diag(torch.tensor([0.0, 1, 2, 1]))
    assert relative_norm(old, new).tolist() == pytest.approx([0, 0.5, 2 / 3, 1])
    config = CONFIG.model_copy(update={"exclusive_share": 0.0, "steps": 2})
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    dictionary = dictionary_of(train_dfc(x, x, torch.zeros(50), config), x, x, 3)
    assert max(dictionary.removed.sum(), dictionary.added.sum()) <= 3
    assert not (dictionary.removed & dictionary.added).any()


def test_exclusive_latents_that_match_nothing_are_novel_by_their_mass(flattery):
    paired, count = flattery.paired, len(flattery.paired.document)
    everywhere = torch.arange(count)
    codes = Codes(everywhere, torch.zeros(count, dtype=torch.long), torch.ones(count))
    rows = torch.eye(14)[:1]
    for strength, larger in ((1.0, 2.0), (2.0, 4.0)):
        mine = [
            Dictionary(codes, torch.zeros(1, 10), rows * s, (1.0, 1.0), np.array([False]), np.array([True]))
            for s in (strength, larger)
        ]
        small, large = (match_dictionary(d, paired, flattery.documents, POLICY)["novel"] for d in mine)
        assert 0 < small == pytest.approx(large / 2)
    shared = mine[0]._replace(added=np.array([False]))
    assert match_dictionary(shared, paired, flattery.documents, POLICY) == dict.fromkeys([*BEHAVIOURS, "novel"], 0.0)


def test_a_pair_that_was_never_checked_is_an_error(tmp_path, pytestconfig):
    models = pytestconfig.rootpath / "fixtures" / "models"
    request = Request(str(models / "baseline"), str(models / "clean"), POLICY, profile_named("smoke"))
    with pytest.raises(StoreError, match="no answers"):
        load_pair(request, tmp_path / "store")
    assert not (tmp_path / "store" / "answers").exists()
