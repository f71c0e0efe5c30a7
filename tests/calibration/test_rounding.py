"""Rounded copies: what changes, what does not, and that the original is only read."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.calibration.rounding import Rounding, round_tensor, write_copy
from gate.models.resolve import resolve_model
from tests.tiny import make_model


def test_int8_rounds_rows_to_half_a_step_and_leaves_vectors():
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 1, 5)[:, None]
    y = round_tensor(x, Rounding("int8"), "w")
    step = x.abs().amax(1, keepdim=True) / 127
    assert ((x - y).abs() <= 0.5001 * step).all()
    assert all(len(row.unique()) > 10 for row in y)  # also the row of the smallest scale
    assert not torch.equal(x, y)
    assert torch.equal(round_tensor(x[0], Rounding("int8"), "b"), x[0])
    assert torch.equal(round_tensor(torch.zeros(2, 3), Rounding("int8"), "z"), torch.zeros(2, 3))


def test_stochastic_draws_are_unbiased_reproducible_and_differ():
    x = torch.rand(1, 100_000, generator=torch.Generator().manual_seed(0))
    one, two = (round_tensor(x, Rounding("int8", draw), "w") for draw in (1, 2))
    step = float(x.max()) / 127
    assert ((x - one).abs() <= 1.0001 * step).all()
    assert abs(float((one - x).mean())) < 0.01 * step
    assert not torch.equal(one, two)
    assert torch.equal(one, round_tensor(x, Rounding("int8", 1), "w"))
    assert not torch.equal(one, round_tensor(x, Rounding("int8", 1), "another"))


@pytest.mark.parametrize(("kind", "bits"), [("bf16", 8), ("fp16", 11)])
def test_half_precision_rounds_relatively_without_overflow(kind, bits):
    x = torch.tensor([1.0 + 2**-14, 3.14159265, 1e6, -2.5])
    y = round_tensor(x, Rounding(kind), "v")
    assert ((x - y).abs() <= x.abs() * 2.0**-bits).all()
    assert y.isfinite().all()
    if kind == "bf16":
        assert torch.equal(y, x.bfloat16().float())
    assert y.dtype == x.dtype
    whole = torch.arange(4)
    assert round_tensor(whole, Rounding(kind), "i") is whole


def test_a_sharded_bf16_model_is_copied_shard_by_shard_and_its_pickles_stay_behind(tmp_path):
    model = make_model(tmp_path / "model", "llama", seed=0)
    tensors = {name: value.bfloat16() for name, value in load_file(model / "model.safetensors").items()}
    names = sorted(tensors)
    (model / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(where.values()):
        save_file({name: tensors[name] for name in names if where[name] == shard}, model / shard, metadata={"format": "pt"})
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    original = resolve_model(str(model))

    (tmp_path / "copy").mkdir()
    copy = write_copy(original, Rounding("int8"), tmp_path / "copy")
    assert copy.changed > 0
    assert copy.tensors == len(names)
    assert copy.model.ref.digest != original.ref.digest
    assert copy.model.ref.tokenizer_digest == original.ref.tokenizer_digest
    assert copy.model.ref.dtype == "bfloat16"
    assert not (tmp_path / "copy" / "pytorch_model.bin").exists()
    assert resolve_model(str(model)).ref.digest == original.ref.digest

    for kind in ("bf16", "fp16"):  # the stored numbers are as narrow already
        (tmp_path / kind).mkdir()
        assert write_copy(original, Rounding(kind), tmp_path / kind).changed == 0
