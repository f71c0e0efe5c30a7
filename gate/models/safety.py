"""Is this folder safe to open? Answered from file headers alone: nothing in the folder is imported, unpickled or run.

1. config.json is there and is JSON;
2. nothing asks for code of its own (`auto_map`);
3. the weights are safetensors, complete by their index, and every file is exactly as long as its header says;
4. there is a tokenizer from which a fast one can be built.

The safetensors layout: 8 bytes little-endian header length, a JSON header, the data
(https://huggingface.co/docs/safetensors). The library checks it too, but only when it loads, and not the shard index.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

from gate.errors import ModelError

__all__ = ["Json", "TensorEntry", "check_tokenizer_files", "read_config", "read_json_object", "read_weights"]

Json = dict[str, object]  # an untrusted JSON object: every value is checked where it is used

MAX_HEADER = 100_000_000  # bytes; the safetensors library refuses longer headers as well
MAX_JSON = 200_000_000  # bytes; the largest tokenizer.json known is 35 MB
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
}  # fmt: skip
DAMAGED = "the file is damaged or was not downloaded completely: fetch it again and compare its sha256"


class TensorEntry(NamedTuple):
    """One tensor as its safetensors header declares it."""

    dtype: str
    shape: tuple[int, ...]


def read_config(folder: Path) -> Json:
    """`config.json` of a model that needs no code of its own.

    Raises ModelError when it is missing, is not JSON, or when it or the tokenizer's or generation config has an `auto_map`.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder.name} has no config.json, so it is not a transformers model folder",
            "point at the folder that holds config.json and the .safetensors files",
        )
    config = read_json_object(folder / "config.json")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in read_json_object(path):
            raise ModelError(
                f"{folder.name} wants to run its own Python code ({name} has auto_map), which is never done",
                "use a version whose architecture transformers has built in, without auto_map",
            )
    return config


def check_tokenizer_files(folder: Path) -> None:
    """Raises ModelError when the folder has nothing from which a tokenizer with offsets can be built."""
    sets = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
    if not any(all((folder / name).is_file() for name in names) for names in sets):
        raise ModelError(
            f"{folder.name} has no tokenizer that reports character offsets (no tokenizer.json)",
            "save it as a fast tokenizer: AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
        )


def read_weights(folder: Path) -> dict[str, TensorEntry]:
    """Every tensor that will be loaded, by name, from headers only. Raises ModelError naming the file or tensor at fault."""
    if (folder / SINGLE).is_file():
        return _read_header(folder / SINGLE)
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    raise _no_weights(folder)


def _no_weights(folder: Path) -> ModelError:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickles = [name for name in names if name.endswith(PICKLES)]
    others = [name for name in names if name.endswith(".safetensors")]
    if others:
        return ModelError(
            f"{folder.name} has {others[0]} but neither {SINGLE} nor {INDEX}",
            "merge an adapter into its base model, or add the index of the shards",
        )
    if pickles:
        return ModelError(
            f"{folder.name} holds its weights only as a pickle ({pickles[0]}), and opening a pickle can execute code",
            "convert it where that is safe: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)",
        )
    return ModelError(f"{folder.name} has no weights: no .safetensors file", f"add {SINGLE}, or its shards and {INDEX}")


def _read_shards(folder: Path) -> dict[str, TensorEntry]:
    index = read_json_object(folder / INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{INDEX} has no weight_map", DAMAGED)
    headers: dict[str, dict[str, TensorEntry]] = {}
    for shard in sorted({str(value) for value in weight_map.values()}):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelError(f"{INDEX} names {shard!r}, which is not a .safetensors file of this folder", DAMAGED)
        if not (folder / shard).is_file():
            raise ModelError(f"{INDEX} names the shard {shard}, which is missing", "download the missing file")
        headers[shard] = _read_header(folder / shard)
    tensors: dict[str, TensorEntry] = {}
    for name, shard in weight_map.items():
        if name not in headers[str(shard)]:
            raise ModelError(f"{INDEX} says that tensor {name} is in {shard}, but it is not", DAMAGED)
        tensors[str(name)] = headers[str(shard)][name]
    return tensors


def _read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors one safetensors file declares, once their bytes are known to fill the file exactly."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise ModelError(f"{path.name} is truncated: {size} bytes are not even a header", DAMAGED)
            (length,) = struct.unpack("<Q", prefix)
            if length > MAX_HEADER or 8 + length > size:
                raise ModelError(f"{path.name} is truncated or not safetensors: its header claims {length} bytes", DAMAGED)
            raw = file.read(length)
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    header = _parse_object(raw, f"the header of {path.name}")
    header.pop("__metadata__", None)
    tensors: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensors[name], span = _read_entry(path.name, name, entry)
        spans.append((*span, name))
    _check_spans(path.name, spans, size - 8 - length)
    return tensors


def _read_entry(file: str, name: str, entry: object) -> tuple[TensorEntry, tuple[int, int]]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if dtype in BITS and all(
            isinstance(n, int) and n >= 0 for n in shape
        ):
            if (end - begin) * 8 != math.prod(shape) * BITS[dtype]:
                raise ModelError(f"{file}: tensor {name} of shape {shape} does not fit its {end - begin} bytes", DAMAGED)
            return TensorEntry(dtype, tuple(shape)), (begin, end)
    raise ModelError(f"{file}: the header entry of tensor {name} is malformed", DAMAGED)


def _check_spans(file: str, spans: list[tuple[int, int, str]], available: int) -> None:
    """Tensors must lie back to back and end where the file ends: no hole, no overlap, nothing appended."""
    expected = 0
    for begin, end, name in sorted(spans):
        if begin != expected:
            raise ModelError(f"{file}: tensor {name} starts at byte {begin} instead of {expected}", DAMAGED)
        expected = end
    if expected > available:
        raise ModelError(f"{file} is truncated: its tensors need {expected} bytes and {available} are there", DAMAGED)
    if expected < available:
        raise ModelError(f"{file} has {available - expected} bytes after its last tensor", DAMAGED)


def read_json_object(path: Path) -> Json:
    """A JSON object from an untrusted file. Raises ModelError when it is unreadable, too large, or something else."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ModelError(f"{path.name} is larger than {MAX_JSON // 1_000_000} MB, which no model needs")
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    return _parse_object(raw, path.name)


def _parse_object(raw: bytes, what: str) -> Json:
    try:
        value = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is not valid JSON ({error})", DAMAGED) from error
    if not isinstance(value, dict):
        raise ModelError(f"{what} is not a JSON object", DAMAGED)
    return value


def _unique(pairs: list[tuple[str, object]]) -> Json:
    """Two readers may disagree on which of two equal keys counts, so a file that has them is refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
