"""Building every model and checking every pair, resumable: what is finished is kept, what was killed is done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.gatebench.matrix import Half, Matrix, Pair, matrix
from benchmarks.gatebench.models import certificate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    # an allocator that keeps its pages: large tensors come and go at every training step
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "100000000",
}


class Places:
    """Where one half keeps its files under the benchmark's folder."""

    def __init__(self, root: Path, half: Half) -> None:
        self.realm = root / half
        self.models = self.realm / "models"
        self.runs = self.realm / "runs"
        self.store = self.realm / "store"
        self.policy = self.realm / "policy.yaml"
        for folder in (self.models, self.runs):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, pair: Pair, profile: str, seed: int) -> Path:
        """The run folder of one check."""
        return self.runs / f"{profile}-{seed}" / pair.id


def write_policy(places: Places, table: Matrix) -> None:
    """The half's policy file, written only when it changes."""
    text = yaml.safe_dump(table.realm.policy(), sort_keys=False, allow_unicode=True, width=110)
    if not places.policy.exists() or places.policy.read_text() != text:
        places.policy.write_text(text)


def build_all(places: Places, table: Matrix, pairs: Sequence[Pair], jobs: int) -> None:
    """Every model that the pairs need, bases first, each in a process of its own."""
    names = dict.fromkeys(name for pair in pairs for name in (pair.baseline, pair.incoming))
    bases = dict.fromkeys(table.models[name].base for name in names if table.models[name].base)
    first = [name for name in table.models if name in bases or (name in names and not table.models[name].base)]
    rest = [name for name in names if name not in first]
    for wave in (first, rest):
        todo = [name for name in wave if not certificate_of(places.models, name).exists()]
        _together(todo, lambda name: _build(places, table.half, name), jobs)


def _build(places: Places, half: Half, name: str) -> str:
    script = (
        "import sys; from pathlib import Path; from benchmarks.gatebench.matrix import matrix;"
        "from benchmarks.gatebench.models import build; t = matrix(sys.argv[1]);"
        "build(t.models[sys.argv[2]], t, Path(sys.argv[3]))"
    )
    log = places.models / f"{name}.log"
    with log.open("w") as out:
        code = subprocess.run(
            [sys.executable, "-c", script, half, name, str(places.models)],
            env=os.environ | QUIET,
            cwd=ROOT,
            stdout=out,
            stderr=out,
            check=False,
        ).returncode
    return f"built {name}" if not code else f"COULD NOT BUILD {name}: see {log}"


def check_all(places: Places, pairs: Sequence[Pair], jobs: int, profile: str, seed: int) -> None:
    """Every pair that has no verdict yet. Exit codes 0, 1 and 3 with a verdict are results; everything else is an error."""
    todo = [pair for pair in pairs if not (places.run(pair, profile, seed) / "verdict.json").exists()]
    _together(todo, lambda pair: _check(places, pair, profile, seed), jobs)


def _check(places: Places, pair: Pair, profile: str, seed: int) -> str:
    """One check, exactly as a user runs it."""
    out = places.run(pair, profile, seed)
    command = [
        sys.executable, "-m", "gate", "check", str(places.models / pair.baseline), str(places.models / pair.incoming),
        "--policy", str(places.policy), "--profile", profile, "--seed", str(seed),
        "--out", str(out), "--store", str(places.store), "--quiet",
    ]  # fmt: skip
    clock = time.monotonic()
    done = subprocess.run(command, env=os.environ | QUIET, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - clock
    if not (out / "verdict.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        (out / "error.txt").write_text(done.stderr[-4000:])
        return f"NO VERDICT {pair.id}: {done.stderr.strip().splitlines()[-1:]}"
    verdict = json.loads((out / "verdict.json").read_text())
    named = [f["behaviour"] for f in verdict["findings"] if f["status"] in {"fail", "warn", "inconclusive"}]
    return (
        f"{seconds:5.1f} s  {verdict['status']:<12} {pair.truth:<13} {pair.id}: {' '.join(named)} novel {len(verdict['novel'])}"
    )


def _together(items: Sequence, work: Callable, jobs: int) -> None:
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for line in pool.map(work, items):
            print(line, flush=True)


def chosen(table: Matrix, *, quick: bool, only: Sequence[str]) -> list[Pair]:
    """The pairs of one half that were asked for."""
    pairs = [p for p in table.pairs if not quick or p.quick]
    return [p for p in pairs if not only or any(word in p.id or word == p.truth for word in only)]


def run(root: Path, half: Half, *, quick: bool, only: Sequence[str], jobs: int, profile: str, seed: int) -> None:
    """Build and check."""
    table, places = matrix(half), Places(root, half)
    pairs = chosen(table, quick=quick, only=only)
    write_policy(places, table)
    build_all(places, table, pairs, jobs)
    check_all(places, pairs, jobs, profile, seed)
