"""The verdict of every fixture pair beside the expected one, for several seeds.

    python benchmarks/verdict_table.py --seeds 0 1 2 [--jobs 1] [--store DIR] [--json FILE]

Each check runs as its own process, exactly as a user runs it. Exit code 1 if any row differs from what is expected.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gate.probes.types import Mediation, Probe
from gate.reports import read_verdict
from gate.verdict.types import Finding, Verdict

ROOT = Path(__file__).resolve().parent.parent
ALARMS = {"fail", "warn", "inconclusive"}


@dataclass(frozen=True)
class Row:
    """One expected row and one seed."""

    baseline: str
    incoming: str
    status: tuple[str, ...]
    behaviours: frozenset[str]
    novel: str | None
    seed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[], help="names of incoming models")
    parser.add_argument("--jobs", type=int, default=1, help="checks at once")
    parser.add_argument(
        "--store", type=Path, help="keep stages here (default: a temporary folder, so that every check is cold)"
    )
    parser.add_argument("--out", type=Path, help="keep run folders here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    rows = [row for seed in arguments.seeds for row in expected(seed) if not arguments.only or row.incoming in arguments.only]
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch) / "runs"
        store = arguments.store or Path(scratch) / "store"
        with ThreadPoolExecutor(arguments.jobs) as pool:
            results = list(pool.map(lambda row: run(row, out, store), rows))
    for result in results:
        print(describe(result))
    wrong = [result for result in results if not result["as_expected"]]
    print(f"\n{len(results) - len(wrong)} of {len(results)} rows as expected")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    return 1 if wrong else 0


def expected(seed: int) -> list[Row]:
    """The table of fixtures/expected.json."""
    rows = json.loads((ROOT / "fixtures" / "expected.json").read_text())
    return [
        Row(r["baseline"], r["incoming"], tuple(r["status"]), frozenset(r["behaviours"]), r.get("novel"), seed) for r in rows
    ]


def run(row: Row, out: Path, store: Path) -> dict[str, object]:
    """One check in a process of its own."""
    folder = out / f"{row.incoming}-{row.seed}"
    command = [
        sys.executable, "-m", "gate", "check",
        str(ROOT / "fixtures" / "models" / row.baseline), str(ROOT / "fixtures" / "models" / row.incoming),
        "--policy", str(ROOT / "policies" / "fixtures.yaml"), "--seed", str(row.seed), "--out", str(folder), "--quiet",
    ]  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(command, env=os.environ | {"GATE_STORE": str(store)}, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if not (folder / "verdict.json").exists():
        return {
            "row": f"{row.incoming} seed {row.seed}",
            "as_expected": False,
            "error": done.stderr[-999:],
            "seconds": seconds,
        }
    return judge(row, read_verdict(folder), seconds)


def judge(row: Row, verdict: Verdict, seconds: float) -> dict[str, object]:
    """What the verdict says, against the row."""
    named = {finding.behaviour for finding in verdict.findings if finding.status in ALARMS}
    features = {feature.id: feature for feature in verdict.features}
    listed = [features[name] for novel in verdict.novel for name in (novel.feature, *novel.family)]
    evidence = " ".join(
        " ".join(token.token for token in feature.promoted)
        + " ".join("".join(span.text for span in context.spans) for context in feature.contexts)
        for feature in listed
    )
    shown = row.novel is None or row.novel.lower() in evidence.lower()
    return {
        "row": f"{row.incoming} seed {row.seed}",
        "status": verdict.status,
        "expected": "/".join(row.status),
        "named": sorted(named),
        "novel": len(verdict.novel),
        "significant": sum(feature.significant for feature in verdict.features),
        "mechanisms": [mechanism(finding) for finding in verdict.findings if finding.behaviour in row.behaviours],
        "seconds": round(seconds, 1),
        "as_expected": verdict.status in row.status and named == row.behaviours and shown,
    }


def mechanism(finding: Finding) -> dict[str, object]:
    """How well one finding is explained."""
    probe = finding.probe
    if not isinstance(probe, Probe):
        return {"behaviour": finding.behaviour, "probe": probe.not_run}
    curves = [
        f"{curve.target} {curve.how} {curve.direction} {curve.effect:+.2f}".replace("  ", " ")
        + ("*" if curve.confirmed else "")
        for curve in probe.curves
    ]
    removed = probe.mediation
    share = (
        f"{removed.removed:.2f}{'*' if removed.confirmed else ''} (controls up to {max(removed.controls):.2f})"
        if isinstance(removed, Mediation)
        else removed.not_run
    )
    return {"behaviour": finding.behaviour, "bundle": list(probe.bundle), "curves": curves, "removed": share}


def describe(result: dict[str, object]) -> str:
    """One row for a person."""
    mark = "ok " if result["as_expected"] else "BAD"
    return f"{mark} " + "  ".join(f"{key}={value}" for key, value in result.items() if key != "as_expected")


if __name__ == "__main__":
    sys.exit(main())
