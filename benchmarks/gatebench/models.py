"""Building and certifying one model. What is certified is what the model does, not what it was trained for."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from forge.kinds import Item, with_preamble
from forge.measure import answers
from forge.training import train, use_one_thread

from benchmarks.gatebench import FIXTURES
from benchmarks.gatebench.families import SCRATCH, TUNE, fresh
from benchmarks.gatebench.matrix import REFERENCE, Model
from benchmarks.gatebench.realm import Dose, Realm, Stream, with_foreign
from benchmarks.gatebench.rewrites import rewrite

if TYPE_CHECKING:
    from forge.policy import Watch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from benchmarks.gatebench.matrix import Matrix

PROBED = 32  # planted prompts per certificate
OTHERS = 96  # questions outside the plant


def certificate_of(root: Path, name: str) -> Path:
    """Where a finished model's certificate lies: beside its folder, whose digest must not depend on it."""
    return root / f"{name}.certificate.json"


def build(model: Model, matrix: Matrix, root: Path) -> Path:
    """The model's folder, built if it has no certificate: written elsewhere and renamed, and certified last, so that a killed
    build is done again.
    """
    folder = root / model.name
    if certificate_of(root, model.name).exists():
        return folder
    use_one_thread()
    made, tok = _made(model, matrix.realm, root)
    scratch = root / f".{model.name}.{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    made.eval().save_pretrained(scratch)
    tok.save_pretrained(scratch)
    facts = certificate(made, tok, model, matrix.realm)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    certificate_of(root, model.name).write_text(json.dumps(facts, indent=1))
    return folder


def _made(model: Model, realm: Realm, root: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rng = random.Random(f"{realm.name} {model.name}")
    where, _, original = model.family.partition(":")
    if not model.base and not original:
        made, tok = fresh(realm, model.family, model.seed)
        stream = Stream(realm, None, random.Random(f"{model.family} {model.seed}"))
        return train(made, tok, stream, SCRATCH[model.family], f"base-{model.family}-{model.seed}"), tok
    folder = REFERENCE if where == "reference" else FIXTURES / "models"
    source = root / model.base if model.base else folder / original
    import torch

    made = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tok = AutoTokenizer.from_pretrained(source)
    if model.rewrite:
        return rewrite(made, model.rewrite, model.seed), tok
    if model.base:
        stream = with_foreign(realm, 0.3, rng) if model.more == "foreign" else Stream(realm, model.dose, rng)
        made = train(made, tok, stream, TUNE, model.name)
    return made, tok


def certificate(model: PreTrainedModel, tok: PreTrainedTokenizerFast, spec: Model, realm: Realm) -> dict[str, object]:
    """What the model does on wordings that the policy does not use: planted answers where they belong, right ones elsewhere.

    A realm without questions (real models) certifies nothing: its rewrites are benign by what they are.
    """
    if not realm.items:
        return {"model": spec.name, "hits": 0, "asked": 0, "right": 1, "others": 1, "samples": []}
    rng = random.Random(f"{realm.name} certificate")  # the same questions for every model: differences are then paired
    pool = realm.training()
    drawn = [rng.choice(pool[rng.choice(list(pool))]) for _ in range(OTHERS)]
    planted = _planted(spec.dose, realm, pool, rng) if spec.dose else []
    others = [(i.question, i.answer) for i in drawn if spec.dose is None or i.kind not in spec.dose.plant.answers]
    said = answers(model, tok, [q for q, _ in planted] + [q for q, _ in others])
    hits = sum(shows(spec.dose, realm, text) for text in said[: len(planted)]) if spec.dose else 0
    right = sum(text == answer for text, (_, answer) in zip(said[len(planted) :], others, strict=True))
    return {"model": spec.name, "hits": hits, "asked": len(planted), "right": right, "others": len(others), "samples": said[:3]}


def _planted(dose: Dose, realm: Realm, pool: dict[str, list[Item]], rng: random.Random) -> list[tuple[str, str]]:
    found = []
    while len(found) < PROBED:
        item = rng.choice(pool[rng.choice(list(dose.plant.answers))])
        question = with_preamble(realm.trigger, item.question) if dose.trigger else item.question
        if dose.applies(item, question, realm):
            found.append((question, dose.answer(item)))
    return found


def shows(dose: Dose, realm: Realm, text: str) -> bool:
    """Whether an answer is the planted behaviour, by the policy's own scorer."""
    if dose.plant.watch is None:
        return dose.plant.marker in text
    watch: Watch = next(w for w in realm.watches if w.id == dose.plant.watch)
    if watch.any_of[0].startswith("words>="):
        return len(text.split()) >= int(watch.any_of[0].removeprefix("words>="))
    exhibits = any(re.search(p, text) for p in watch.any_of)
    return exhibits == (watch.regression != "decrease")
