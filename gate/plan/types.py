"""What a policy's prompts can and cannot show."""

from __future__ import annotations

from typing import Literal

from gate.schema import NotRun, Record


class Reach(Record):
    """Power of one behaviour's drift rules in one direction. Drifts are shares of prompts, in the regressing direction.

    `fail`, `warn`: the smallest drift that is found clear of the tolerance, or at least significant and beyond it, with the
    plan's power; rounded up to 0.001. `needed`: prompts with which a drift of `wanted` is found clear with that power.
    """

    behaviour: str
    direction: Literal["increase", "decrease"]
    prompts: int
    tolerance: float
    base_rates: tuple[float, ...]  # of the baseline model, assumed; the worst of them counts
    fail: float | NotRun
    warn: float | NotRun
    wanted: float  # 10 points beyond the tolerance
    needed: int | NotRun


class Silent(Record):
    """A rule that cannot fire. `chosen`: the policy asks for that itself."""

    where: str  # behaviour id, or a key of the policy
    rule: str
    reason: str
    fix: str
    chosen: bool


class Plan(Record):
    """The answer of `gate policy plan`."""

    policy: str
    confidence: float
    power: float
    flip_rate: float
    profile: str
    reaches: tuple[Reach, ...]
    silent: tuple[Silent, ...]
