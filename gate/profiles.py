"""How much work a check does: smoke for a quick look, standard for a gate, full for a release."""

from __future__ import annotations

from typing import Literal

from gate.crosscoder.types import DFCConfig
from gate.errors import UsageError
from gate.probes.config import ProbeConfig
from gate.schema import Record

ProfileName = Literal["smoke", "standard", "full"]


class Profile(Record):
    """Settings that grow with the profile. `expansion`: latents per unit of mean width of the two models."""

    name: ProfileName
    expansion: int
    steps: int
    probe: ProbeConfig

    def dfc(self, widths: tuple[int, int], seed: int) -> DFCConfig:
        """Training settings for two widths; sparsity grows slowly with width (8 of 768 latents at width 96)."""
        mean = sum(widths) / 2
        latents = max(256, 64 * round(self.expansion * mean / 64))
        return DFCConfig(latents=latents, k=max(8, round(mean / 64)), steps=self.steps, seed=seed)


PROFILES: dict[ProfileName, Profile] = {
    "smoke": Profile(
        name="smoke",
        expansion=4,
        steps=300,
        probe=ProbeConfig(up=(1.0, 2.0), down=(-1.0,), prompts=8, ablated_prompts=24),
    ),
    "standard": Profile(name="standard", expansion=8, steps=600, probe=ProbeConfig()),
    "full": Profile(
        name="full",
        expansion=16,
        steps=4000,
        probe=ProbeConfig(
            up=(0.25, 0.5, 1.0, 1.5, 2.0, 3.0),
            down=(-0.25, -0.5, -0.75, -1.0, -1.25, -1.5),
            controls=20,
            prompts=48,
            ablated_prompts=200,
            singles=3,
        ),
    ),
}


def profile_named(name: str) -> Profile:
    """The profile of that name. Raises UsageError for any other."""
    for known, profile in PROFILES.items():
        if known == name:
            return profile
    raise UsageError(f"no profile is called {name!r}", f"choose one of {', '.join(PROFILES)}")
