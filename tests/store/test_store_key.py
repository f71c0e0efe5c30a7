"""Store keys: equal for equal work, different for any difference that can change a result."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gate.policy.types import Site
from gate.schema import canonical_json
from gate.store import Key, key, stage_key

BASE = {"stage": "harvest", "version": 1, "settings": {"layer": 3, "seed": 0}, "inputs": ["a" * 64, "b" * 64], "device": "cpu"}


def test_equal_work_has_equal_keys():
    reordered = {**BASE, "settings": {"seed": 0, "layer": 3}, "inputs": tuple(BASE["inputs"])}
    assert stage_key(**BASE) == stage_key(**reordered)
    assert stage_key("s", 1, Site(), []) == stage_key("s", 1, Site().model_dump(), [])


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "quality"},
        {"version": 2},
        {"settings": {"layer": 3, "seed": 1}},
        {"settings": {"layer": 3, "seed": "0"}},
        {"settings": {"layer": 3}},
        {"inputs": ["b" * 64, "a" * 64]},
        {"inputs": ["a" * 64]},
        {"device": "cuda"},
    ],
)
def test_every_difference_gives_another_key(change):
    assert stage_key(**{**BASE, **change}).digest != stage_key(**BASE).digest


def test_library_versions_count(monkeypatch):
    before = stage_key(**BASE)
    monkeypatch.setattr(key, "library_versions", lambda: {"gate": "0.1", "torch": "99"})
    assert stage_key(**BASE).digest != before.digest


def test_an_absent_library_is_a_version_too():
    assert key._version("no-such-distribution-exists") == "absent"


def test_the_digest_is_that_of_the_recipe():
    made = stage_key(**BASE)
    recipe = json.loads(made.recipe)
    assert hashlib.sha256(made.recipe.encode()).hexdigest() == made.digest
    assert set(recipe) == {"stage", "version", "settings", "inputs", "libraries", "device"}
    assert set(recipe["libraries"]) == {"gate", "torch", "transformers", "numpy"}
    assert recipe["libraries"]["gate"].count(".") == 1
    assert made == Key(made.stage, made.digest)


@pytest.mark.parametrize(("stage", "digest"), [("../x", "a" * 64), ("x", "a" * 63 + "/"), ("", "a" * 64), ("x", "A" * 64)])
def test_a_key_cannot_leave_the_store(stage, digest):
    with pytest.raises(AssertionError):
        Key(stage, digest)


def test_what_has_no_portable_spelling_is_refused():
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):  # noqa: PT011 - two libraries' words
            canonical_json({"x": value})


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ({"b": [1, 2.5, None, True], "a": {"d": "", "c": ()}}, '{"a":{"c":[],"d":""},"b":[1,2.5,null,true]}'),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e300, "1e+300"),
        ("é\u2028\n\x7f😀", '"é\u2028\\n\x7f😀"'),
        ({"é": 1, "z": 2, "😀": 3}, '{"z":2,"é":1,"😀":3}'),
    ],
)
def test_canonical_json_has_one_spelling_for_a_value(value, spelled):
    assert canonical_json(value) == spelled.encode()
    assert canonical_json(json.loads(spelled)) == spelled.encode()


def test_the_store_and_the_policy_loader_do_not_import_torch():
    code = "import sys, gate.store, gate.policy.lint, gate.policy.schema; print('torch' in sys.modules, 'numpy' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
