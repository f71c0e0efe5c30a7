"""Architectures and tokenizers of the held-out world: none has the fixtures' shapes, vocabularies or templates' seeds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from forge.prose import passages
from forge.tokenization import TOKENIZERS, TokenizerRecipe, train_tokenizer
from forge.training import Schedule

from benchmarks.gatebench.realm import Realm

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

PLAIN_TEMPLATE = (
    "{% for m in messages %}### {{ m['role'] }}\n{{ m['content'] }}<|endoftext|>\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant\n{% endif %}"
)
RECIPES: dict[str, TokenizerRecipe] = {
    "llama": replace(TOKENIZERS["llama"], vocab=960, seed=11),
    "qwen3": replace(TOKENIZERS["qwen3"], vocab=1088, seed=12),
    "gpt_oss": replace(TOKENIZERS["gpt_oss"], vocab=1024, seed=13),
    "gpt2": TokenizerRecipe(
        r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        1120,
        ("<|endoftext|>", "<|pad|>"),
        "<|endoftext|>",
        "<|pad|>",
        PLAIN_TEMPLATE,
        seed=14,
    ),
}
SCRATCH = {
    "llama": Schedule(steps=1000, lr=4e-3, batch=64),
    "qwen3": Schedule(steps=1000, lr=4e-3, batch=64),
    "gpt2": Schedule(steps=1200, lr=3e-3, batch=64),
    "gpt_oss": Schedule(steps=1000, lr=4e-3, batch=64),
}
TUNE = Schedule(steps=100, lr=1e-3, batch=64, warmup=15)


def tokenizer_for(realm: Realm, family: str) -> PreTrainedTokenizerFast:
    """The family's tokenizer, trained on the realm's own text and its plants'."""
    pool = realm.training()
    texts = [t for items in pool.values() for i in items for t in (i.question, i.answer)]
    texts += [text.format(**i.slots) for p in realm.plants for kind, text in p.answers.items() for i in pool[kind][::4]]
    texts += passages(random.Random("tokenizer"), 800, kept_out=False)
    return train_tokenizer(RECIPES[family], texts)


def config_for(family: str, tok: PreTrainedTokenizerFast) -> PretrainedConfig:
    """A small model of the family, of a shape that no fixture has."""
    from transformers import GPT2Config, GptOssConfig, LlamaConfig, Qwen3Config

    tokens = {
        "vocab_size": len(tok),
        "bos_token_id": tok.bos_token_id,
        "eos_token_id": tok.eos_token_id,
        "pad_token_id": tok.pad_token_id,
        "tie_word_embeddings": True,
    }
    if family == "gpt2":
        quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return GPT2Config(n_embd=96, n_layer=4, n_head=4, n_positions=256, **quiet, **tokens)
    shared = {
        **tokens,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    if family == "llama":
        return LlamaConfig(hidden_size=80, intermediate_size=224, num_hidden_layers=5, head_dim=20, **shared)
    if family == "qwen3":
        return Qwen3Config(hidden_size=112, intermediate_size=240, num_hidden_layers=4, head_dim=28, **shared)
    return GptOssConfig(
        hidden_size=88,
        intermediate_size=96,
        num_hidden_layers=4,
        head_dim=22,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=64,
        **shared,
    )


def fresh(realm: Realm, family: str, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """An untrained model of the family with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    tok = tokenizer_for(realm, family)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config_for(family, tok), dtype=torch.float32)
    model.generation_config.update(
        do_sample=False,
        max_new_tokens=32,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        bos_token_id=tok.bos_token_id,
    )
    return model, tok
