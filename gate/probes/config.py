"""How much is steered and ablated."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gate.schema import Record

BUNDLE_UPS = 2  # ways in which a bundle is turned up


class ProbeConfig(Record):
    """Doses are in units of the target's own natural activation."""

    up: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    down: tuple[float, ...] = (-0.5, -1.0, -1.5)
    controls: Annotated[int, Field(ge=8)] = 8
    prompts: Annotated[int, Field(ge=4)] = 20  # per curve
    ablated_prompts: Annotated[int, Field(ge=8)] = 48
    bundle: Annotated[int, Field(ge=1)] = 8  # best matches that are probed together
    singles: Annotated[int, Field(ge=0)] = 2  # of them, also probed alone
    min_fluent: Annotated[float, Field(gt=0, le=1)] = 0.75

    @property
    def jobs(self) -> int:
        """Upper bound of generations for one behaviour, for progress bars and cost."""
        curves = ((BUNDLE_UPS + self.singles) * len(self.up) + (1 + self.singles) * len(self.down)) * self.prompts
        return (1 + self.controls) * (curves + self.ablated_prompts)
