"""Rewrites that claim to leave the function alone do, on every architecture; the others change it a little."""

import copy
import functools

import pytest
import torch

from benchmarks.gatebench.rewrites import REWRITES, SAME_FUNCTION, rewrite

FAMILIES = ("llama", "qwen3", "gpt2", "gpt_oss")
NO_ROTATION = {"gpt2", "gpt_oss"}


@functools.cache
def _model(family: str):
    from transformers import AutoModelForCausalLM, GPT2Config, GptOssConfig, LlamaConfig, Qwen3Config

    tokens = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "tie_word_embeddings": True}
    shared = tokens | {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "head_dim": 8,
    }
    config = {
        "llama": lambda: LlamaConfig(intermediate_size=48, **shared),
        "qwen3": lambda: Qwen3Config(intermediate_size=48, **shared),
        "gpt2": lambda: GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **tokens),
        "gpt_oss": lambda: GptOssConfig(intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, **shared),
    }[family]()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():  # wide weights and gains off 1, so that a forgotten factor shows
        for weight in model.parameters():
            weight.mul_(4.0) if weight.ndim > 1 else weight.add_(0.3 * torch.randn_like(weight))
    return model


@torch.no_grad()
def _logits(model) -> torch.Tensor:
    ids = torch.arange(40).reshape(2, 20) % 64
    return model(input_ids=ids, use_cache=False).logits.log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SAME_FUNCTION)
def test_the_function_stays_and_the_weights_do_not(family, name) -> None:
    if name == "rotated" and family in NO_ROTATION:
        pytest.skip("the residual basis of a LayerNorm or of packed experts is not rotated")
    before = _model(family)
    after = rewrite(copy.deepcopy(before), name, seed=3)
    torch.testing.assert_close(_logits(after), _logits(before), atol=2e-4, rtol=1e-3)
    changed = [
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=False) if a.shape == b.shape
    ]
    assert any(changed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [n for n in REWRITES if n not in SAME_FUNCTION])
def test_rounding_and_pruning_change_the_weights_a_little(family, name) -> None:
    before = _model(family)
    after = rewrite(copy.deepcopy(before), name, seed=0)
    old, new = (torch.cat([w.detach().flatten() for w in m.parameters() if w.ndim > 1]) for m in (before, after))
    distance = float((old - new).norm() / old.norm())
    assert 0 < distance < 0.2
