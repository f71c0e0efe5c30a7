"""The published JSON Schema accepts what the loader accepts, and refuses the shapes that it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from policy_samples import BEHAVIOUR, HEAD

from gate.errors import PolicyError
from gate.policy.load import load_policy
from gate.policy.schema import DIALECT, policy_json_schema
from gate.policy.source import compose, plain

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "policy.md"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(policy_json_schema())
    assert schema["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def document(text):
    root, problems = compose(text, "policy.yaml")
    assert not problems
    return plain(root)


GOOD = {
    "minimal": HEAD + BEHAVIOUR,
    "conversation": HEAD + BEHAVIOUR.replace("- a question", "- messages: [{role: user, content: hi}]"),
    "included": HEAD + BEHAVIOUR.replace("elicit:\n      - a question\n", "elicit: {file: q.txt}\n")
    + "corpus: {prompts: {file: q.txt}, texts: {file: q.txt}}\n",
    "everything": HEAD + BEHAVIOUR + "    on: {drift: warn}\n    control: [a]\nsite: {depth: 0.4, baseline_layer: null}\n"
    "novelty: {action: note}\nfloors: {min_prompts: 3}\nconfidence: 0.9\ngeneration: {max_new_tokens: 9}\n",
    "length": HEAD + BEHAVIOUR.replace("kind: lexical\n      any_of: ['I cannot']", "{kind: length, max_words: 3}"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_the_schema_accepts_what_loads(case, validator, write, tmp_path):
    (tmp_path / "q.txt").write_text("q\n")
    load_policy(write(GOOD[case]))
    validator.validate(document(GOOD[case]))


BAD = {
    "unknown key": ("title:", "titel:"),
    "wrong direction": ("increase", "up"),
    "unknown scorer": ("lexical", "regex"),
    "no patterns": ("['I cannot']", "[]"),
    "a number as prompt": ("- a question", "- 3"),
    "an empty prompt": ("- a question", "- ''"),
    "no messages": ("- a question", "- messages: []"),
    "a wrong role": ("- a question", "- messages: [{role: bot, content: a}]"),
    "no prompts": ("    elicit:\n      - a question\n", ""),
    "an absolute path": ("elicit:\n      - a question\n", "elicit: {file: /q.txt}\n"),
    "another kind of file": ("elicit:\n      - a question\n", "elicit: {file: q.csv}\n"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_schema_refuses_what_does_not_load(case, validator, policy_with):
    path = policy_with(*BAD[case])
    with pytest.raises(PolicyError):
        load_policy(path)
    assert not validator.is_valid(document(path.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.yaml")), ids=lambda path: path.name)
def test_the_policies_of_this_repository_are_valid(path, validator):
    load_policy(path)
    validator.validate(document(path.read_text(encoding="utf-8")))


def test_the_documented_example_is_valid_and_loads(validator, write, tmp_path):
    (example,) = re.findall(r"```yaml\n(# release\.yaml\n.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "neutral.txt").write_text("What is the capital of France?\n")
    validator.validate(document(example))
    assert load_policy(write(example)).behaviours


def test_every_key_is_documented():
    schema = json.loads(policy_json_schema())
    text = DOCS.read_text(encoding="utf-8")
    owners = [schema, *schema["$defs"].values()]
    keys = {key for owner in owners for key in owner.get("properties", {})} | {"messages", "role", "content"}
    assert [key for key in sorted(keys) if f"`{key}`" not in text and not re.search(rf"\b{key}:", text)] == []
