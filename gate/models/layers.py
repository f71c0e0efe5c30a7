"""Where in a model the gate looks: the decoder blocks, and which of them is the site."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gate.errors import EngineError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.types import ModelRef

__all__ = ["find_blocks", "site_layer"]


def site_layer(ref: ModelRef, depth: float, explicit: int | None = None) -> int:
    """Index of the block after which the residual stream is read.

    `depth` is the share of the blocks that lie before the site: the site follows block round(depth * layers) - 1, halves
    rounded up, so depth 0.5 is after block 1 of 0..3, after block 2 of 0..4. `explicit` overrides it.

    Raises UsageError naming the valid range when `explicit` is outside it.
    """
    if explicit is None:
        return min(max(math.floor(depth * ref.layers + 0.5) - 1, 0), ref.layers - 1)
    if not 0 <= explicit < ref.layers:
        raise UsageError(
            f"layer {explicit} is out of range for {ref.name}, which has {ref.layers} blocks",
            f"choose 0 to {ref.layers - 1}",
        )
    return explicit


def find_blocks(model: nn.Module, layers: int, path: str | None = None) -> list[nn.Module]:
    """The decoder blocks of a transformers model, in order.

    They are the one outermost `ModuleList` of length `layers`; `path` (such as "model.layers") names it where that is
    ambiguous. Raises EngineError when there is none, or more than one.
    """
    from torch import nn

    found = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == layers
    }
    if path is not None:
        if path not in found:
            raise EngineError(f"{path} is not a list of {layers} blocks", f"candidates: {', '.join(found) or 'none'}")
        return list(found[path])
    # a mixture of experts may keep a list of as many experts inside every block
    outermost = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    if len(outermost) != 1:
        raise EngineError(
            f"cannot tell the decoder blocks: {len(outermost)} lists of {layers} modules",
            f"name the path of the blocks; candidates: {', '.join(outermost) or 'none'}",
        )
    return list(found[outermost[0]])
