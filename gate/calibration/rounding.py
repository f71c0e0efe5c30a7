"""Copies of a model that differ by rounding alone, written shard by shard. The original files are only read."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gate.errors import ModelError
from gate.models.digest import model_files
from gate.models.resolve import ResolvedModel, first_line, resolve_model
from gate.models.safety import INDEX, SINGLE, read_json_object

if TYPE_CHECKING:
    from torch import Tensor

SIDE_FILES = (".json", ".txt", ".model", ".jinja")  # configuration, tokenizer and templates; no other weights, no pickle
LEVELS = 127  # of a symmetric signed 8-bit integer
SIGNIFICANT_BITS = {"bf16": 8, "fp16": 11}  # the leading one included


class Rounding(NamedTuple):
    """A way to round. draw: 0 to the nearest value, 1, 2, ... stochastically, each draw in its own way (int8 only)."""

    kind: str  # int8, bf16, fp16
    draw: int = 0

    @property
    def name(self) -> str:
        """Such as `int8` or `int8 stochastic 1`."""
        return f"{self.kind} stochastic {self.draw}" if self.draw else self.kind


class RoundedCopy(NamedTuple):
    """A finished copy. `changed` of its `tensors` differ from the original's."""

    model: ResolvedModel
    changed: int
    tensors: int


def write_copy(original: ResolvedModel, rounding: Rounding, folder: Path) -> RoundedCopy:
    """Round every weight of `original` into the existing, empty `folder`; tensors keep their stored types.

    One shard is in memory at a time. The copy is resolved, and its files checked, only when all of it is written.
    Raises ModelError for weights that cannot be read.
    """
    for name, path in model_files(original.folder).items():
        if name.endswith(SIDE_FILES):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / name)
    changed = tensors = 0
    for name in _shards(original.folder):
        one_changed, one_total = _write_shard(original, name, rounding, folder / name)
        changed, tensors = changed + one_changed, tensors + one_total
    model = resolve_model(str(folder))
    named = {"source": f"{original.ref.source} ({rounding.name})", "name": f"{original.ref.name} ({rounding.name})"}
    return RoundedCopy(ResolvedModel(model.ref.model_copy(update=named), folder), changed, tensors)


def _shards(folder: Path) -> list[str]:
    """Names of the weight files that are loaded; `resolve_model` has checked that they are plain names in this folder."""
    if (folder / SINGLE).is_file():
        return [SINGLE]
    weight_map = read_json_object(folder / INDEX)["weight_map"]
    assert isinstance(weight_map, dict)
    return sorted({str(shard) for shard in weight_map.values()})


def _write_shard(original: ResolvedModel, name: str, rounding: Rounding, target: Path) -> tuple[int, int]:
    """(changed, all) tensors of one shard."""
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    rounded: dict[str, Tensor] = {}
    changed = 0
    try:
        with safe_open(str(original.folder / name), framework="pt") as shard:
            metadata = shard.metadata()
            for key in shard.keys():  # noqa: SIM118  not a dictionary
                stored = shard.get_tensor(key)
                rounded[key] = round_tensor(stored, rounding, key)
                changed += not torch.equal(stored, rounded[key])
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{name} of {original.ref.name} cannot be read: {first_line(error)}") from error
    save_file(rounded, target, metadata=metadata)
    return changed, len(rounded)


def round_tensor(stored: Tensor, rounding: Rounding, name: str) -> Tensor:
    """`stored`, rounded, in its own shape and type.

    int8: tensors of two or more dimensions, symmetric, one scale per row (last dimension): max |x| / 127. Vectors stay.
    bf16, fp16: every floating-point tensor to 8 or 11 significant bits, whatever the exponent: relative rounding alone, no
    overflow or underflow. Stochastic rounding goes up with the probability that makes it unbiased; its generator depends on the
    draw and the tensor's name. Integers are left alone.
    """
    import torch

    if not stored.is_floating_point() or stored.element_size() == 1:
        return stored
    if rounding.kind != "int8":
        mantissa, exponent = torch.frexp(stored.double())
        units = 2.0 ** SIGNIFICANT_BITS[rounding.kind]
        return torch.ldexp((mantissa * units).round() / units, exponent).to(stored.dtype)
    if stored.ndim < 2 or not stored.numel():
        return stored
    wide = stored.to(torch.float64 if stored.dtype == torch.float64 else torch.float32)
    scale = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / LEVELS
    steps = wide / scale
    if rounding.draw:
        seed = int.from_bytes(hashlib.sha256(f"{rounding.draw}:{name}".encode()).digest()[:7], "big")
        noise = torch.rand(steps.shape, generator=torch.Generator().manual_seed(seed), dtype=steps.dtype)
        steps = (steps + noise).floor().clamp(-LEVELS, LEVELS)
    else:
        steps = steps.round()
    return (steps * scale).to(stored.dtype)
