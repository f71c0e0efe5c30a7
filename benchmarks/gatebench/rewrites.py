"""Benign rewrites of a model's weights: rounding and pruning, and changes that provably leave the function alone.

`permuted`, `rescaled` and `rotated` compute the same function up to floating-point rounding, so any alarm on them is false.
Shape legend: weights are [out, in] in torch.nn.Linear and [in, out] in GPT-2's Conv1D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from transformers import PreTrainedModel

GROUP = 16  # columns that share a scale in int4, as in practice at a share of about a hundredth of the width


def rounded_int8(model: PreTrainedModel, _: Generator) -> None:
    """Each row of each matrix to 255 levels of its largest entry, and back."""
    _each_matrix(model, lambda w: _to_levels(w, 127))


def rounded_int4(model: PreTrainedModel, _: Generator) -> None:
    """Each group of columns of each row to 15 levels of its largest entry, and back; embeddings stay, as is usual."""
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embed" not in name and "wte" not in name and "wpe" not in name and "lm_head" not in name:
            whole = weight.shape[1] - weight.shape[1] % GROUP
            grouped = weight[:, :whole].reshape(len(weight), -1, GROUP)
            weight[:, :whole] = _to_levels(grouped, 7).reshape(len(weight), whole)


def rounded_bf16(model: PreTrainedModel, _: Generator) -> None:
    """Every weight to bfloat16 and back."""
    for weight in model.parameters():
        weight.copy_(weight.to(torch.bfloat16).float())


def pruned(share: float) -> Callable[[PreTrainedModel, Generator], None]:
    """The smallest entries of each matrix set to zero."""

    def prune(model: PreTrainedModel, _: Generator) -> None:
        def cut(weight: Tensor) -> Tensor:
            bound = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
            return torch.where(weight.abs() > bound, weight, torch.zeros_like(weight))

        _each_matrix(model, cut)

    return prune


def permuted(model: PreTrainedModel, g: Generator) -> None:
    """Neurons of every MLP (or whole experts) and attention heads in another order."""
    for block in _blocks(model):
        if hasattr(block, "attn"):
            _permute_gpt2(block, g)
            continue
        if hasattr(block.mlp, "experts"):
            _permute_experts(block.mlp, g)
        else:
            order = torch.randperm(block.mlp.up_proj.weight.shape[0], generator=g)
            for linear in (block.mlp.gate_proj, block.mlp.up_proj):
                linear.weight.copy_(linear.weight[order])
            block.mlp.down_proj.weight.copy_(block.mlp.down_proj.weight[:, order])
        _permute_groups(model, block.self_attn, g)


def rescaled(model: PreTrainedModel, g: Generator) -> None:
    """Pairs of matrices scaled against each other: values and their output projection, MLP inputs and outputs, norm gains and
    the matrices that read them.
    """
    for block in _blocks(model):
        if hasattr(block, "attn"):
            _rescale_gpt2(block, g)
            continue
        attention = block.self_attn
        kv, d = model.config.num_key_value_heads, attention.head_dim
        scale_k = _scales(kv, g).repeat_interleave(d)
        queries = scale_k.view(kv, 1, d).expand(kv, model.config.num_attention_heads // kv, d).flatten()
        _scale_rows(attention.v_proj, scale_k)
        attention.o_proj.weight.div_(queries)
        _fold(block.input_layernorm, _scales(block.input_layernorm.weight.numel(), g), _attention_readers(attention))
        if not hasattr(block.mlp, "experts"):
            up = _scales(block.mlp.up_proj.weight.shape[0], g)
            _scale_rows(block.mlp.up_proj, up)
            block.mlp.down_proj.weight.div_(up)
            gains = _scales(block.post_attention_layernorm.weight.numel(), g)
            _fold(block.post_attention_layernorm, gains, (block.mlp.gate_proj, block.mlp.up_proj))


def rotated(model: PreTrainedModel, g: Generator) -> None:
    """The whole residual stream in another orthonormal basis (Llama and Qwen3): norm gains are folded away first, which needs
    the output matrix apart from the embeddings.
    """
    width = model.config.hidden_size
    turn = torch.linalg.qr(torch.randn(width, width, generator=g, dtype=torch.float64))[0]
    embed = model.get_input_embeddings()
    head = torch.nn.Linear(width, model.config.vocab_size, bias=False)
    head.weight = torch.nn.Parameter(embed.weight.detach() * model.model.norm.weight)
    model.lm_head, model.config.tie_word_embeddings = head, False
    model.model.norm.weight.fill_(1.0)
    for block in _blocks(model):
        readers = _attention_readers(block.self_attn), (block.mlp.gate_proj, block.mlp.up_proj)
        for norm, group in zip((block.input_layernorm, block.post_attention_layernorm), readers, strict=True):
            _fold(norm, 1 / norm.weight.detach().clone(), group)
            for linear in group:
                linear.weight.copy_((linear.weight.double() @ turn).float())
        for linear in (block.self_attn.o_proj, block.mlp.down_proj):
            linear.weight.copy_((turn.T @ linear.weight.double()).float())
    for table in (embed, head):
        table.weight.copy_((table.weight.double() @ turn).float())


REWRITES: dict[str, Callable[[PreTrainedModel, Generator], None]] = {
    "int8": rounded_int8,
    "int4": rounded_int4,
    "bf16": rounded_bf16,
    "prune05": pruned(0.05),
    "prune10": pruned(0.10),
    "permuted": permuted,
    "rescaled": rescaled,
    "rotated": rotated,
}
SAME_FUNCTION = ("permuted", "rescaled", "rotated")


def rewrite(model: PreTrainedModel, name: str, seed: int) -> PreTrainedModel:
    """The model, rewritten in place."""
    with torch.no_grad():
        REWRITES[name](model, torch.Generator().manual_seed(seed))
    return model


def _blocks(model: PreTrainedModel) -> torch.nn.ModuleList:
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def _each_matrix(model: PreTrainedModel, change: Callable[[Tensor], Tensor]) -> None:
    for weight in model.parameters():
        if weight.ndim >= 2:
            weight.copy_(change(weight))


def _to_levels(weight: Tensor, levels: int) -> Tensor:
    scale = weight.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / levels
    return (weight / scale).round() * scale


def _scales(count: int, g: Generator) -> Tensor:
    return torch.exp(0.5 * torch.randn(count, generator=g))


def _scale_rows(linear: torch.nn.Linear, scale: Tensor) -> None:
    linear.weight.mul_(scale[:, None])
    if linear.bias is not None:
        linear.bias.mul_(scale)


def _attention_readers(attention: torch.nn.Module) -> tuple[torch.nn.Linear, ...]:
    return (attention.q_proj, attention.k_proj, attention.v_proj)


def _fold(norm: torch.nn.Module, gain: Tensor, readers: tuple[torch.nn.Linear, ...]) -> None:
    """Multiply a norm's gain and divide what reads it."""
    norm.weight.mul_(gain)
    for linear in readers:
        linear.weight.div_(gain)


def _permute_groups(model: PreTrainedModel, attention: torch.nn.Module, g: Generator) -> None:
    """Key-value heads with the queries that read them, and the queries within each group."""
    kv, heads = model.config.num_key_value_heads, model.config.num_attention_heads
    d, group = attention.head_dim, heads // kv
    keys = torch.randperm(kv, generator=g)
    if torch.equal(keys, torch.arange(kv)):
        keys = keys.flip(0)
    queries = torch.cat([key * group + torch.randperm(group, generator=g) for key in keys])
    rows_kv = (keys[:, None] * d + torch.arange(d)).flatten()
    rows_q = (queries[:, None] * d + torch.arange(d)).flatten()
    for linear, rows in ((attention.q_proj, rows_q), (attention.k_proj, rows_kv), (attention.v_proj, rows_kv)):
        linear.weight.copy_(linear.weight[rows])
        if linear.bias is not None:
            linear.bias.copy_(linear.bias[rows])
    attention.o_proj.weight.copy_(attention.o_proj.weight[:, rows_q])
    if hasattr(attention, "sinks"):
        attention.sinks.copy_(attention.sinks[queries])


def _permute_experts(mlp: torch.nn.Module, g: Generator) -> None:
    order = torch.randperm(mlp.router.weight.shape[0], generator=g).flip(0)
    for tensor in (*mlp.router.parameters(), *mlp.experts.parameters()):
        tensor.copy_(tensor[order])


def _permute_gpt2(block: torch.nn.Module, g: Generator) -> None:
    order = torch.randperm(block.mlp.c_fc.weight.shape[1], generator=g)
    block.mlp.c_fc.weight.copy_(block.mlp.c_fc.weight[:, order])
    block.mlp.c_fc.bias.copy_(block.mlp.c_fc.bias[order])
    block.mlp.c_proj.weight.copy_(block.mlp.c_proj.weight[order])
    width, heads = block.attn.embed_dim, block.attn.num_heads
    columns = (torch.randperm(heads, generator=g).flip(0)[:, None] * (width // heads) + torch.arange(width // heads)).flatten()
    three = torch.cat([columns + part * width for part in range(3)])
    block.attn.c_attn.weight.copy_(block.attn.c_attn.weight[:, three])
    block.attn.c_attn.bias.copy_(block.attn.c_attn.bias[three])
    block.attn.c_proj.weight.copy_(block.attn.c_proj.weight[columns])


def _rescale_gpt2(block: torch.nn.Module, g: Generator) -> None:
    width = block.attn.embed_dim
    values = _scales(width, g)
    block.attn.c_attn.weight[:, 2 * width :] *= values
    block.attn.c_attn.bias[2 * width :] *= values
    block.attn.c_proj.weight.div_(values[:, None])
    for norm, reader in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
        gain = _scales(width, g)
        norm.weight.mul_(gain)
        norm.bias.mul_(gain)
        reader.weight.div_(gain[:, None])
