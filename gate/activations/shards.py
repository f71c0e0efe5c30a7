"""Paired activations on disk: safetensors shards of whole documents, and a JSON index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gate.activations.types import Coverage, Paired
from gate.errors import StoreError
from gate.schema import Record

if TYPE_CHECKING:
    from torch import Tensor

SHARD_POSITIONS = 1 << 18  # a quarter of a million positions: 64 MiB a side at width 64, 4 GiB at width 4096
FIELDS = ("baseline", "incoming", "surprise", "document", "end", "decision", "answer")


class _Index(Record):
    shards: tuple[str, ...]
    positions: int
    coverage: Coverage


def save_paired(folder: Path, paired: Paired, coverage: Coverage) -> None:
    """Write shards and index into an existing folder."""
    from safetensors.torch import save_file

    names = []
    bounds = _shard_bounds(paired.document)
    for number, (start, stop) in enumerate(bounds):
        name = f"shard-{number:05d}.safetensors"
        save_file({field: getattr(paired, field)[start:stop].contiguous() for field in FIELDS}, folder / name)
        names.append(name)
    index = _Index(shards=tuple(names), positions=len(paired.document), coverage=coverage)
    (folder / "index.json").write_text(index.model_dump_json(), encoding="utf-8")


def load_coverage(folder: Path) -> Coverage:
    """How well the texts aligned, without reading a tensor."""
    return _Index.model_validate_json((folder / "index.json").read_text(encoding="utf-8")).coverage


def load_paired(folder: Path) -> Paired:
    """All shards, concatenated in order. Raises StoreError if a shard does not hold what the index says."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = _Index.model_validate_json((folder / "index.json").read_text(encoding="utf-8"))
    try:
        shards = [load_file(folder / name) for name in index.shards]
        paired = Paired(**{field: torch.cat([shard[field] for shard in shards]) for field in FIELDS})
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise StoreError(f"activations in {folder} are damaged ({error})", f"delete {folder} and run again") from error
    if len(paired.document) != index.positions:
        raise StoreError(f"activations in {folder} are incomplete", f"delete {folder} and run again")
    return paired


def _shard_bounds(document_N: Tensor) -> list[tuple[int, int]]:
    """Cut after whole documents, at about SHARD_POSITIONS positions."""
    total = len(document_N)
    bounds, start = [], 0
    while start < total:
        stop = min(start + SHARD_POSITIONS, total)
        while stop < total and document_N[stop] == document_N[stop - 1]:
            stop += 1
        bounds.append((start, stop))
        start = stop
    return bounds
