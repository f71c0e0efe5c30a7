"""Which kind of device a request means: part of every store key, for figures differ between kinds."""

from __future__ import annotations

from pathlib import Path


def device_class(device: str) -> str:
    """`cpu` or `cuda`. torch is imported only where a driver makes `auto` ambiguous, so that a cached check stays quick."""
    if device != "auto":
        return device.split(":", maxsplit=1)[0]
    if not Path("/dev/nvidiactl").exists():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
