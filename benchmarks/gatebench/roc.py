"""Detection by the right name at equal false-alarm rates, for any set of detectors on the same pairs.

A detector gives every pair one score per watched behaviour and one for "something unwatched changed" (`novel`). It has two
channels: the *watched* one is the largest score over the behaviours, with one threshold for all of them, the *novel* one has a
threshold of its own, because its scale has nothing in common with the other. Both thresholds are set on benign pairs only, the
same way for every detector:

- **tuned**: the largest score that any benign pair of the tuning half gets. Judged on all positives and on the benign pairs of
  the other half, so the false-alarm rate is an honest estimate.
- **oracle**: the threshold that lets at most a given share of *all* benign pairs through, which no gate could have known. It
  compares what detectors could do, whatever they were tuned on. With allowance 0 it is the largest benign score.
- **fixed**: a threshold that the detector brings along, such as the gate's own decision.

An alarm is a score strictly above its threshold. A positive is **named** when the highest-scoring behaviour is above the
threshold and is one of the planted ones; for a detector listed in `any_of` it is enough that a planted one is above it. A
planted change that nobody watches is named when the novel channel alarms and the watched one does not: a wrong name sends the
reader astray. It is **noticed** when either channel alarms, whatever the name.

The unit is the pair. Seeds of one pair are not independent, so a pair counts as named or noticed when more than half of its
seeds are, and as a false alarm when any of its seeds is. Intervals are Clopper-Pearson over pairs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gate.statistics import clopper_pearson

NOVEL = "novel"


@dataclass(frozen=True, slots=True)
class Case:
    """One detector's scores for one check. `truth`: the planted behaviours, {"novel"} for an unwatched change, empty if benign.

    `tuning`: whether a benign pair belongs to the half that sets the threshold.
    """

    pair: str
    seed: int
    truth: frozenset[str]
    scores: Mapping[str, float]
    tuning: bool = False

    @property
    def watched(self) -> tuple[float, str]:
        """The highest-scoring behaviour with its score; ties go to the first by name."""
        scored = [(name, value) for name, value in sorted(self.scores.items()) if name != NOVEL]
        name, value = max(scored, key=lambda item: item[1], default=("", -math.inf))
        return value, name

    @property
    def novel(self) -> float:
        """The score of the novel channel."""
        return self.scores.get(NOVEL, -math.inf)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Alarms are scores strictly above it, in either channel. `how`: where it comes from, for the table."""

    watched: float
    novel: float
    how: str


@dataclass(frozen=True, slots=True)
class Count:
    """`hits` of `n` pairs."""

    hits: int
    n: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper-Pearson; (0, 1) for no pairs at all."""
        if not self.n:
            return 0.0, 1.0
        bounds = clopper_pearson(self.hits, self.n, level).interval
        return bounds.low, bounds.high

    def text(self) -> str:
        """For a table."""
        if not self.n:
            return "-"
        low, high = self.interval()
        return f"{self.hits} of {self.n} [{low:.0%}, {high:.0%}]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One detector at one threshold. `named_checks` counts single checks, for information: they are not independent."""

    detector: str
    threshold: Threshold
    named: Count  # positives with a watched truth
    novel: Count  # positives whose change nobody watches
    noticed: Count  # positives of either kind, whatever the name
    alarms: Count  # benign pairs
    named_checks: Count


def truth_of(planted: str | Iterable[str] | None) -> frozenset[str]:
    """One name, several, or none."""
    if planted is None:
        return frozenset()
    return frozenset([planted] if isinstance(planted, str) else planted)


def tuning_half(pairs: Collection[str]) -> frozenset[str]:
    """Half of the pairs, rounded down; by digest of the name, so the same for every order and every detector."""
    order = sorted(set(pairs), key=lambda pair: (sha256(pair.encode()).hexdigest(), pair))
    return frozenset(order[: len(order) // 2])


def tuned(cases: Sequence[Case]) -> Threshold:
    """The largest score of the tuning half. Raises ValueError without one, or where it has a positive."""
    return _above([case for case in cases if case.tuning], 0.0, "tuning half")


def oracle(cases: Sequence[Case], allowance: float) -> Threshold:
    """At most `allowance` of all benign pairs lie above it, in each channel."""
    return _above([case for case in cases if not case.truth], allowance, f"oracle {allowance:.0%}")


def _above(benign: Sequence[Case], allowance: float, how: str) -> Threshold:
    if not benign or any(case.truth for case in benign):
        raise ValueError("a threshold needs benign pairs, and nothing else")
    return Threshold(
        _allowing(benign, [case.watched[0] for case in benign], allowance),
        _allowing(benign, [case.novel for case in benign], allowance),
        how,
    )


def _allowing(cases: Sequence[Case], values: Sequence[float], allowance: float) -> float:
    worst: dict[str, float] = {}
    for case, value in zip(cases, values, strict=True):
        worst[case.pair] = max(value, worst.get(case.pair, -math.inf))
    return sorted(worst.values(), reverse=True)[math.floor(allowance * len(worst) + 1e-9)]


def named(case: Case, threshold: Threshold, any_of: bool = False) -> bool:
    """Whether a positive is detected by its right name."""
    value, top = case.watched
    if case.truth == {NOVEL}:
        return case.novel > threshold.novel and value <= threshold.watched
    if any_of:
        return any(case.scores.get(name, -math.inf) > threshold.watched for name in case.truth)
    return value > threshold.watched and top in case.truth


def alarmed(case: Case, threshold: Threshold) -> bool:
    """Whether either channel alarms."""
    return case.watched[0] > threshold.watched or case.novel > threshold.novel


def judge(detector: str, cases: Sequence[Case], threshold: Threshold, *, any_of: bool = False) -> Outcome:
    """One detector at one threshold. Benign pairs of the tuning half count as false alarms only if there is no other half, or
    if the threshold was not tuned on them.
    """
    benign = [case for case in cases if not case.truth]
    if threshold.how == "tuning half":
        benign = [case for case in benign if not case.tuning]
    positives = [case for case in cases if case.truth]
    watched, unwatched = ([c for c in positives if (c.truth == {NOVEL}) is novel] for novel in (False, True))
    return Outcome(
        detector,
        threshold,
        named=_pairs((case.pair, named(case, threshold, any_of)) for case in watched),
        novel=_pairs((case.pair, named(case, threshold, any_of)) for case in unwatched),
        noticed=_pairs((case.pair, alarmed(case, threshold)) for case in positives),
        alarms=_pairs(((case.pair, alarmed(case, threshold)) for case in benign), every=False),
        named_checks=Count(sum(named(case, threshold, any_of) for case in watched), len(watched)),
    )


def _pairs(found: Iterable[tuple[str, bool]], every: bool = True) -> Count:
    """Pairs with more than half of their seeds (`every`), or with any seed."""
    by_pair: dict[str, list[bool]] = {}
    for pair, hit in found:
        by_pair.setdefault(pair, []).append(hit)
    hits = sum((2 * sum(seeds) > len(seeds)) if every else any(seeds) for seeds in by_pair.values())
    return Count(hits, len(by_pair))


def compare(
    detectors: Mapping[str, Sequence[Case]],
    *,
    any_of: Collection[str] = (),
    fixed: Mapping[str, Threshold] | None = None,
    allowances: Sequence[float] = (0.0, 0.05),
) -> list[Outcome]:
    """Every detector at every threshold. Raises ValueError unless all of them saw the same checks."""
    seen = {name: sorted((c.pair, c.seed, sorted(c.truth), c.tuning) for c in cases) for name, cases in detectors.items()}
    if len({str(checks) for checks in seen.values()}) > 1:
        raise ValueError("the detectors did not see the same checks")
    outcomes = []
    for name, cases in detectors.items():
        thresholds = [*([fixed[name]] if fixed and name in fixed else [])]
        thresholds += [tuned(cases)] if any(case.tuning for case in cases) else []
        thresholds += [oracle(cases, allowance) for allowance in allowances]
        outcomes += [judge(name, cases, threshold, any_of=name in any_of) for threshold in thresholds]
    return outcomes


def markdown(outcomes: Sequence[Outcome]) -> str:
    """One table per kind of threshold, in the order in which they first occur."""
    tables = []
    for how in dict.fromkeys(outcome.threshold.how for outcome in outcomes):
        rows = [
            f"Threshold: {how}",
            "",
            "| detector | named | unwatched, called novel | noticed at all | false alarms | named, single checks |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for o in outcomes:
            if o.threshold.how == how:
                cells = [o.named, o.novel, o.noticed, o.alarms]
                checks = f"{o.named_checks.hits} of {o.named_checks.n}"
                rows.append(f"| {o.detector} | {' | '.join(cell.text() for cell in cells)} | {checks} |")
        tables.append("\n".join(rows))
    return "\n\n".join(tables) + "\n"
