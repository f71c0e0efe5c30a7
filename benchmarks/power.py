"""The tables of docs/power.md: python benchmarks/power.py. Exact, no models, a few seconds."""

from __future__ import annotations

from math import ceil, log

from gate.plan.power import Rule, Setting, power, prompts_needed, smallest_drift
from gate.plan.reach import BASES
from gate.statistics import clopper_pearson

TARGET = 0.8
PROMPTS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
SETTINGS = (Setting(0.1, 0.95, 7), Setting(0.05, 0.95, 7))
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def points(drift: float | None) -> str:
    """A drift in points, or a dash."""
    return "-" if drift is None else f"{100 * drift:.1f}"


def smallest(n: int, setting: Setting, rule: Rule, flip: float) -> str:
    """The smallest drift in points at the worst base rate."""
    return points(smallest_drift(n, setting, rule, TARGET, BASES, flip))


def drifts() -> None:
    """What each number of prompts detects."""
    print("| prompts | tolerance | fails at, flips 0% | 2% | 5% | warns at, flips 0% | 2% | 5% | fails at drift = tolerance |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for setting in SETTINGS:
        for n in PROMPTS:
            cells = [smallest(n, setting, rule, flip) for rule in ("fail", "warn") for flip in (0.0, 0.02, 0.05)]
            false = max(power(n, setting.tolerance, setting, "fail", base=base, flip=0.02) for base in BASES)
            print(f"| {n} | {100 * setting.tolerance:.0f} | {' | '.join(cells)} | {false:.4f} |")


def needed() -> None:
    """How many prompts a drift needs."""
    print("| drift, points | prompts to fail, tolerance 10 | tolerance 5 | tolerance 0 |")
    print("| --- | --- | --- | --- |")
    for drift in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5):
        counts = [
            prompts_needed(drift, Setting(tolerance, 0.95, 7), "fail", TARGET, BASES, 0.02) if drift > tolerance else None
            for tolerance in (0.1, 0.05, 0.0)
        ]
        print(f"| {100 * drift:.0f} | {' | '.join('-' if count is None else str(count) for count in counts)} |")


def triggers() -> None:
    """A change that shows on a share of the prompts only."""
    print("| share of prompts | seen with 48 | prompts to see it once, 95% | to warn, tolerance 0 | to fail, tolerance 0 |")
    print("| --- | --- | --- | --- | --- |")
    setting = Setting(0.0, 0.95, 1)
    for share in SHARES:
        once = ceil(log(0.05) / log(1 - share))
        counts = [prompts_needed(share, setting, rule, TARGET, (0.0,), 0.0) for rule in ("warn", "fail")]
        print(f"| {100 * share:.0f}% | {1 - (1 - share) ** 48:.2f} | {once} | {counts[0]} | {counts[1]} |")


def claims() -> None:
    """What agreement of a whole benchmark shows (Clopper-Pearson)."""
    print("| outcome | two-sided 95% | one-sided 95% |")
    print("| --- | --- | --- |")
    for hits, n in ((30, 30), (33, 33), (60, 60), (0, 9), (0, 30), (0, 60)):
        two, one = clopper_pearson(hits, n, 0.95).interval, clopper_pearson(hits, n, 0.9).interval
        if hits:
            print(f"| {hits} of {n} | at least {two.low:.4f} | at least {one.low:.4f} |")
        else:
            print(f"| {hits} of {n} | at most {two.high:.4f} | at most {one.high:.4f} |")


if __name__ == "__main__":
    for table in (drifts, needed, triggers, claims):
        print(f"\n{table.__doc__}\n")
        table()
