"""Reading and editing the residual stream with forward hooks on decoder blocks.

Shapes: B rows, T positions, D width, R rank (the largest in the batch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gate.errors import EngineError
from gate.models.types import Intervention

__all__ = ["Editor", "StopForward", "capture", "check_intervention", "edit_at"]

Handle = torch.utils.hooks.RemovableHandle


class StopForward(Exception):  # noqa: N818  a signal, not an error
    """Raised by a hook to end a forward pass after the block it sits on; caught where the pass was started."""


@contextmanager
def capture(block: nn.Module, *, stop: bool) -> Iterator[list[Tensor]]:
    """Collect the residual [B, T, D] after `block` of every forward pass inside the context.

    With `stop`, the pass ends there by raising StopForward: the later blocks cost nothing, and what was captured is exact.
    """
    taken: list[Tensor] = []

    def hook(_module: nn.Module, _args: object, output: object) -> None:
        taken.append(_residual(output))
        if stop:
            raise StopForward

    with _hooked(block, hook):
        yield taken


@contextmanager
def edit_at(block: nn.Module, delta_BD: Tensor) -> Iterator[None]:
    """Add `delta_BD` to the residual after `block` at the last position of every row."""

    def hook(_module: nn.Module, _args: object, output: object) -> object:
        hidden_BTD = _residual(output).clone()
        hidden_BTD[:, -1] += delta_BD.to(hidden_BTD.dtype)
        return _replaced(output, hidden_BTD)

    with _hooked(block, hook):
        yield


@dataclass(slots=True)
class _LayerEdit:
    """The edits of all rows of a batch at one layer. Rows without one have zeros, which leave the residual exactly as it is."""

    add_BD: Tensor | None
    basis_BRD: Tensor | None
    target_BR: Tensor | None

    def select(self, rows: Tensor) -> _LayerEdit:
        return _LayerEdit(*(None if t is None else t[rows] for t in (self.add_BD, self.basis_BRD, self.target_BR)))

    def apply(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """The edited residual; `mask_BT` is 1.0 at positions that are edited, None means all."""
        # float32 throughout: in bfloat16 the difference target - B x would lose most of its digits
        wide_BTD = hidden_BTD.float()
        delta_BTD = torch.zeros_like(wide_BTD) if self.add_BD is None else self.add_BD[:, None, :].expand_as(wide_BTD)
        if self.basis_BRD is not None and self.target_BR is not None:
            coordinates_BTR = wide_BTD @ self.basis_BRD.transpose(1, 2)
            delta_BTD = delta_BTD + (self.target_BR[:, None, :] - coordinates_BTR) @ self.basis_BRD
        if mask_BT is not None:
            delta_BTD = delta_BTD * mask_BT[:, :, None]
        return (wide_BTD + delta_BTD).to(hidden_BTD.dtype)


class Editor:
    """Applies one optional intervention per row, in hooks at the layers they name.

    `mask_BT` says which positions of the running pass are edited; it must be set before every pass. After a pass,
    `check_fired` proves that every hook ran exactly once: a hook that silently does not run would make steering a no-op.
    """

    def __init__(self, blocks: Sequence[nn.Module], interventions: Sequence[Intervention | None], device: torch.device) -> None:
        self.mask_BT: Tensor | None = None
        self._blocks = blocks
        self._fired: dict[int, int] = {}
        layers = sorted({edit.layer for edit in interventions if edit is not None})
        self._edits = {
            layer: _layer_edit([e if e and e.layer == layer else None for e in interventions], device) for layer in layers
        }

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch, in this order."""
        self._edits = {layer: edit.select(rows) for layer, edit in self._edits.items()}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks sit on the blocks inside this context."""
        handles = [self._blocks[layer].register_forward_hook(self._hook(layer)) for layer in self._edits]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def check_fired(self) -> None:
        """Raises EngineError unless every hook fired exactly once since the last call."""
        fired, self._fired = self._fired, {}
        for layer in self._edits:
            times = fired.pop(layer, 0)
            if times != 1:
                raise EngineError(
                    f"the steering hook after block {layer} ran {times} times in one pass instead of once",
                    "this model's blocks cannot be steered by this engine",
                )

    def _hook(self, layer: int) -> Callable[[nn.Module, object, object], object]:
        def hook(_module: nn.Module, _args: object, output: object) -> object:
            self._fired[layer] = self._fired.pop(layer, 0) + 1
            return _replaced(output, self._edits[layer].apply(_residual(output), self.mask_BT))

        return hook


def check_intervention(edit: Intervention, layers: int, width: int) -> None:
    """Raises EngineError when an intervention does not fit the model."""
    if not 0 <= edit.layer < layers:
        raise EngineError(f"cannot steer after block {edit.layer}: the model has blocks 0 to {layers - 1}")
    if edit.kind == "add":
        fits = edit.vector is not None and edit.vector.shape == (width,)
    else:
        basis, target = edit.basis, edit.target
        fits = (
            basis is not None
            and target is not None
            and basis.dim() == 2
            and basis.shape[1] == width
            and target.shape == basis.shape[:1]
        )
    if not fits:
        raise EngineError(f"a steering direction ({edit.kind}) does not have the model's width {width}")


def _layer_edit(rows: Sequence[Intervention | None], device: torch.device) -> _LayerEdit:
    adds = [edit.vector if edit is not None and edit.kind == "add" else None for edit in rows]
    moves = [edit if edit is not None and edit.kind == "move" else None for edit in rows]
    # equal tensors are moved to the device once: a probe steers hundreds of rows by one direction
    add_BD = _stack(adds, device)
    basis_BRD = _stack([None if edit is None else edit.basis for edit in moves], device)
    target_BR = _stack([None if edit is None else edit.target for edit in moves], device)
    return _LayerEdit(add_BD, basis_BRD, target_BR)


def _stack(rows: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    """Stack tensors that differ at most in their first size, padded with zeros; None rows are zeros; no rows at all: None."""
    present = [row for row in rows if row is not None]
    if not present:
        return None
    longest = max(present, key=lambda row: row.shape[0])
    unique = {id(row): row for row in present}
    table = torch.zeros((len(unique) + 1, *longest.shape), dtype=torch.float32)
    index = {key: i for i, key in enumerate(unique)}
    for key, row in unique.items():
        table[index[key], : row.shape[0]] = row.detach().float().cpu()
    which = torch.tensor([len(unique) if row is None else index[id(row)] for row in rows])
    return table[which].to(device)


def _residual(output: object) -> Tensor:
    """A block returns its hidden states, or a tuple that starts with them."""
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor) or hidden.dim() != 3:
        raise EngineError("a decoder block returned something other than hidden states [batch, positions, width]")
    return hidden


def _replaced(output: object, hidden_BTD: Tensor) -> object:
    return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD


@contextmanager
def _hooked(block: nn.Module, hook: Callable[[nn.Module, object, object], object]) -> Iterator[Handle]:
    handle = block.register_forward_hook(hook)
    try:
        yield handle
    finally:
        handle.remove()
