"""A calibration: the null distribution of every figure that a check compares with a threshold. docs/calibration.md."""

from __future__ import annotations

from typing import Literal

from gate.activations.types import Coverage
from gate.crosscoder.types import Quality
from gate.features.types import Kind
from gate.models.types import ModelRef
from gate.schema import NotRun, Rate, Record
from gate.verdict.types import PolicyRef

KINDS: tuple[Kind, ...] = ("added", "removed", "rewired")


class Spread(Record):
    """Values of one statistic where nothing changed, ascending, with linearly interpolated quantiles."""

    values: tuple[float, ...]
    median: float
    upper_quartile: float
    q95: float
    maximum: float


class NullDrift(Record):
    """One behaviour in one comparison. gained, lost: prompts that only the copy, only the baseline exhibits it on.

    even, odd: the drift on every other prompt, two disjoint halves of the same list.
    """

    behaviour: str
    n: int
    gained: int
    lost: int
    value: float  # (gained - lost) / n
    regressing: float  # in the policy's direction: positive is worse
    even: float
    odd: float


class LiftBound(Record):
    """The largest lower bound of the surprise lift, in nats, over the latents of one kind."""

    kind: Kind
    value: float


class NullComparison(Record):
    """The baseline against one rounded copy of itself, judged as a check would judge it, without probes.

    local_surprise, auroc: of the matches there would be without the bounds on lift, replication and local surprise; the two go
    together item by item. replication: of the latents with the highest lift bounds. effect: lower bounds, in nats, of the
    features whose effect was measured.
    """

    rounding: str
    seed: int
    fold: int
    copy_digest: str
    changed: int  # tensors that rounding changed
    tensors: int
    prompts: int
    answers_changed: int  # prompts that the copy answers in other words; where none, nothing can surprise and every lift is 0
    status: Literal["pass", "warn", "fail", "inconclusive"]
    summary: str
    coverage: Coverage
    quality: Quality
    significant: int  # features that a check would have called real changes
    drifts: tuple[NullDrift | NotRun, ...]  # in the policy's order; NotRun where the scorer failed
    lifts: tuple[LiftBound, ...]  # kinds without a latent that fires in enough documents are absent
    local_surprise: tuple[float, ...]
    auroc: tuple[float, ...]
    replication: tuple[float, ...]
    effect: tuple[float, ...]


class BehaviourNull(Record):
    """One behaviour over all copies. flips: prompts whose outcome differs, over all pairs of a prompt and a copy, with the
    Clopper-Pearson interval. bound: what the null says the tolerance must be at least.
    """

    behaviour: str
    flips: Rate | NotRun
    drift: Spread | NotRun
    split_half: float | NotRun  # largest |drift on even - drift on odd prompts|
    bound: float


class LiftNull(Record):
    """Null distribution of the largest lower bound of the surprise lift of one kind, in nats: one value per comparison."""

    kind: Kind
    bound: Spread | NotRun


class Calibration(Record):
    """All of it. The same command on the same machine gives the same bytes."""

    schema_version: Literal[1] = 1
    digest: str  # of its store key
    baseline: ModelRef
    policy: PolicyRef
    profile: str
    engine: str
    device: str
    seed: int
    comparisons: tuple[NullComparison, ...]
    skipped: tuple[NotRun, ...]  # copies that were not compared, and why
    alarms: int  # comparisons whose status was not pass
    behaviours: tuple[BehaviourNull, ...]
    surprise_lift: tuple[LiftNull, ...]
    local_surprise: Spread | NotRun
    auroc: Spread | NotRun
    replication: Spread | NotRun
    effect: Spread | NotRun
