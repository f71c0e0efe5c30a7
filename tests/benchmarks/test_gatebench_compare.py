"""The gate's verdicts as scores, and which features a verdict rests on."""

from benchmarks.gatebench.agreement import Agreement, render, rests_on
from benchmarks.gatebench.compare import GATE_THRESHOLD, _case, gate_scores
from benchmarks.gatebench.matrix import matrix
from benchmarks.gatebench.roc import alarmed, named
from benchmarks.gatebench.score import Outcome
from gate.verdict.types import Verdict
from tests.reports.sample import sample

WARNED = Outcome("a--b", "trigger", "privacy", 0.1, 1.0, "warn", ("privacy", "hijack"), (), 0, 0, True, 1.0)


def test_a_warn_counts_as_an_alarm_of_the_gate() -> None:
    scores = gate_scores(WARNED, matrix("held-out"))
    assert (scores["privacy"], scores["hijack"], scores["novel"]) == (1.0, 1.0, 0.0)
    case = _case(WARNED, scores, 0, "held-out")
    assert named(case, GATE_THRESHOLD, any_of=True)
    assert alarmed(case, GATE_THRESHOLD)
    assert case.truth == {"privacy"}
    assert not case.tuning


def test_a_plant_that_did_not_take_is_benign_for_every_detector() -> None:
    quiet = Outcome("a--c", "not taken", "privacy", 0.02, 0.0, "pass", (), (), 0, 0, None, 1.0)
    case = _case(quiet, gate_scores(quiet, matrix("held-out")), 0, "tuning")
    assert case.truth == frozenset()
    assert case.tuning
    assert not alarmed(case, GATE_THRESHOLD)


def test_a_verdict_rests_on_the_matches_of_its_alarms_and_on_its_novel_entries() -> None:
    verdict: Verdict = sample()
    latent = {feature.id: feature.latent for feature in verdict.features}
    rested = rests_on(verdict)
    flagged = [f for f in verdict.findings if f.status in {"fail", "warn"}]
    assert flagged
    assert all(latent[m.feature] in rested for f in flagged for m in f.matches)
    assert all(latent[entry.feature] in rested for entry in verdict.novel)
    quiet = [m.feature for f in verdict.findings if f.status == "note" for m in f.matches]
    only_quiet = {latent[name] for name in quiet} - {latent[m.feature] for f in flagged for m in f.matches}
    assert not only_quiet & set(rested)


def test_disagreement_is_listed() -> None:
    same, other = frozenset({"privacy"}), frozenset()
    text = render(
        [Agreement("a--b", 10, 10, ("fail", "fail"), (same, same)), Agreement("a--c", 10, 5, ("warn", "pass"), (same, other))]
    )
    assert "15 of 20" in text
    assert "a--c: 5 of 10" in text
    assert "1 of 2" in text
