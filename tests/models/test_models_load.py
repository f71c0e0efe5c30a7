"""Damage that only shows when weights are read: it is refused by name, and never reaches a comparison."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.errors import EngineError, ModelError
from gate.models.layers import find_blocks
from gate.models.resolve import resolve_model
from gate.models.transformers_engine import TransformersEngine

GATE_PROJ = "model.layers.1.mlp.gate_proj.weight"


def rewrite(folder, change):
    """Apply `change` to the tensors of a model folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def refused(folder, *words):
    resolved = resolve_model(str(folder))
    with pytest.raises(ModelError) as caught:
        TransformersEngine.load(resolved, device="cpu")
    line = caught.value.one_line()
    assert "\n" not in line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_number_is_found_and_its_tensor_named(copy, value):
    rewrite(copy, lambda tensors: tensors[GATE_PROJ][3].__setitem__(5, value))
    refused(copy, GATE_PROJ, "NaN or infinite")


def test_a_wrong_shape_names_tensor_found_and_expected(copy):
    rewrite(copy, lambda tensors: tensors.__setitem__(GATE_PROJ, torch.zeros(60, 32)))
    refused(copy, GATE_PROJ, "[60, 32]", "[64, 32]")


def test_missing_and_unexpected_tensors_are_named(copy):
    tensor = load_file(copy / "model.safetensors")[GATE_PROJ]
    rewrite(copy, lambda tensors: tensors.pop(GATE_PROJ))
    refused(copy, GATE_PROJ, "missing")
    rewrite(copy, lambda tensors: tensors.update({GATE_PROJ: tensor, "model.layers.1.backdoor.weight": tensor.clone()}))
    refused(copy, "model.layers.1.backdoor.weight", "does not have")


@pytest.mark.parametrize(
    ("model_type", "words"), [("nonesuch", ["not accepted"]), ("vit", ["vit", "not a causal language model"])]
)
def test_unknown_architectures_are_refused(copy, model_type, words):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    refused(copy, *words)


def test_a_broken_tokenizer_is_one_line(copy):
    (copy / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nonesuch"}}')
    refused(copy, "the tokenizer of model cannot be loaded")


def test_a_tokenizer_without_offsets_is_refused(copy, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    refused(copy, "does not report character offsets")


def test_tokenizer_ids_beyond_the_embedding_are_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "vocab_size": 50}))
    rewrite(copy, lambda tensors: tensors.update({k: v[:50].clone() for k, v in tensors.items() if v.shape == (400, 32)}))
    engine = TransformersEngine.load(resolve_model(str(copy)), device="cpu")
    with pytest.raises(ModelError, match="but the model has 50"):
        engine.render_text("The quick brown fox")


def test_unknown_and_absent_devices_are_one_line(tiny_models):
    resolved = resolve_model(str(tiny_models["llama"]))
    with pytest.raises(EngineError, match="unknown device"):
        TransformersEngine.load(resolved, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="not available"):
            TransformersEngine.load(resolved, device="cuda")
    with pytest.raises(EngineError, match="unknown dtype"):
        TransformersEngine.load(resolved, device="cpu", dtype="int3")


def test_loading_says_nothing_and_leaves_transformers_as_it_was(tiny_models, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    TransformersEngine.load(resolve_model(str(tiny_models["qwen3"])), device="cpu")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    out, err = capfd.readouterr()
    assert out == err == ""


def test_weights_are_float32_on_a_cpu_whatever_was_stored(copy):
    rewrite(copy, lambda tensors: tensors.update({k: v.bfloat16() for k, v in tensors.items()}))
    resolved = resolve_model(str(copy))
    assert resolved.ref.dtype == "bfloat16"
    assert TransformersEngine.load(resolved, device="cpu").dtype == torch.float32


def test_blocks_are_the_outermost_list_and_ambiguity_is_an_error():
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))

    model = nn.Module()
    model.layers = nn.ModuleList(Block() for _ in range(3))
    assert find_blocks(model, 3) == list(model.layers)
    model.other = nn.ModuleList(Block() for _ in range(3))
    with pytest.raises(EngineError, match="cannot tell the decoder blocks"):
        find_blocks(model, 3)
    assert find_blocks(model, 3, "other") == list(model.other)
    with pytest.raises(EngineError, match="nonesuch is not a list of 3 blocks"):
        find_blocks(model, 3, "nonesuch")
