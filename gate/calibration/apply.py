"""What a calibration changes in a check: thresholds, which are only ever raised, and policies that are refused.

Reads the store and computes nothing; no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from gate.calibration.types import Calibration, Spread
from gate.context import Context, read_json
from gate.errors import PolicyError
from gate.policy.load import policy_digest
from gate.policy.types import Floors, Policy
from gate.schema import JSON, NotRun
from gate.store import Key
from gate.verdict.types import NOT_CALIBRATED, CalibrationSummary, RaisedThreshold

FILE = "calibration.json"
MARGIN = 0.25  # of the null maximum, and at least as many nats: below that lift a latent is no candidate for a feature
MAX_TOLERANCE = 0.999  # a tolerance stays below 1

CALIBRATION = TypeAdapter(Calibration)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A policy whose thresholds are raised, the bound on local surprise in nats, and what to say of it in the verdict."""

    policy: Policy
    min_local_surprise: float
    summary: CalibrationSummary | NotRun


def calibration_key(context: Context) -> Key:
    """Where the calibration of this baseline, policy, profile and device is kept. The seed and the incoming model do not count.

    Nor does `floors.max_flip_rate`, which affects no figure: raising it must not lose the calibration that speaks against it.
    """
    return context.key(
        "calibration", 1, profile_settings(context), [context.baseline.ref.digest, figures_digest(context.policy)]
    )


def profile_settings(context: Context) -> dict[str, JSON]:
    """The profile with every setting of its crosscoder but the seed, for store keys."""
    width = context.baseline.ref.width
    return {"profile": context.profile.name, "crosscoder": context.profile.dfc((width, width), 0).model_dump()}


def figures_digest(policy: Policy) -> str:
    """Digest of all of a policy that figures depend on."""
    floors = policy.floors.model_copy(update={"max_flip_rate": Floors().max_flip_rate})
    return policy_digest(policy.model_copy(update={"floors": floors}))


def find_calibration(context: Context) -> Calibration | None:
    """The finished calibration for this check, or None. Raises StoreError for a damaged one."""
    folder = context.store.find(calibration_key(context))
    return None if folder is None else read_json(CALIBRATION, folder / FILE)


def refuse_noisy(policy: Policy, calibration: Calibration) -> None:
    """Raises PolicyError (exit 2) for the first behaviour whose outcomes rounding alone flips too often."""
    limit = policy.floors.max_flip_rate
    for one in calibration.behaviours:
        if not isinstance(one.flips, NotRun) and one.flips.value > limit:
            low, high = (100 * bound for bound in (one.flips.interval.low, one.flips.interval.high))
            raise PolicyError(
                f"rounding alone flips {one.flips.hits} of {one.flips.n} outcomes ({100 * one.flips.value:.1f}%, "
                f"interval {low:.1f}% to {high:.1f}%) of behaviour {one.behaviour}, above floors.max_flip_rate "
                f"({100 * limit:.3g}%)",
                "give it prompts that the baseline answers clearly or a sharper scorer, or raise the limit; "
                "then run `gate calibrate` again",
            )


def raised_thresholds(policy: Policy, calibration: Calibration | None, min_local_surprise: float) -> Thresholds:
    """The policy's thresholds, or what the null asks for where that is more. None: not calibrated."""
    if calibration is None:
        return Thresholds(policy, min_local_surprise, NOT_CALIBRATED)
    raised: list[RaisedThreshold] = []

    def higher(name: str, before: float, null: float) -> float:
        if null > before:
            raised.append(RaisedThreshold(name=name, before=before, after=null))
        return max(before, null)

    novelty = policy.novelty
    lift = max((_beyond(one.bound) for one in calibration.surprise_lift), default=0.0)
    min_lift = higher("novelty.min_surprise_lift", novelty.min_surprise_lift, lift)
    local = higher("local surprise of matches", min_local_surprise, _beyond(calibration.local_surprise))
    bounds = {one.behaviour: min(one.bound, MAX_TOLERANCE) for one in calibration.behaviours}
    behaviours = tuple(
        one.model_copy(update={"tolerance": higher(f"{one.id}.tolerance", one.tolerance, bounds.get(one.id, 0.0))})
        for one in policy.behaviours
    )
    changed = {"novelty": novelty.model_copy(update={"min_surprise_lift": min_lift}), "behaviours": behaviours}
    summary = CalibrationSummary(
        digest=calibration.digest,
        comparisons=len(calibration.comparisons),
        alarms=calibration.alarms,
        raised=tuple(raised),
    )
    return Thresholds(policy.model_copy(update=changed), local, summary)


def _beyond(null: Spread | NotRun) -> float:
    """The null maximum plus the margin; 0 where there is none."""
    if isinstance(null, NotRun):
        return 0.0
    return null.maximum + max(MARGIN, MARGIN * null.maximum)
