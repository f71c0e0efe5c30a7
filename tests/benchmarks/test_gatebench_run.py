"""The runner: real models from the bundled baseline, and what is finished is not done again."""

import json
import subprocess

import pytest

from benchmarks.gatebench import __main__ as command
from benchmarks.gatebench import run
from benchmarks.gatebench.matrix import matrix
from benchmarks.gatebench.models import build, certificate_of
from benchmarks.gatebench.run import Places, check_all, chosen, write_policy


@pytest.mark.slow
def test_a_rewritten_model_is_built_from_its_base_and_certified(tmp_path) -> None:
    table = matrix("tuning")
    base = build(table.models["llama"], table, tmp_path)
    made = build(table.models["llama-rotated"], table, tmp_path)
    facts = [json.loads(certificate_of(tmp_path, folder.name).read_text()) for folder in (base, made)]
    assert facts[0]["right"] >= 0.9 * facts[0]["others"]
    assert facts[1]["right"] >= 0.9 * facts[1]["others"], "a rotated model computes the same function"
    files = [(folder / "model.safetensors").read_bytes() for folder in (base, made)]
    assert files[0] != files[1]
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["llama", "llama-rotated"], "no half-written folder is left"


def test_finished_checks_are_kept_and_failed_ones_leave_their_reason(tmp_path, monkeypatch, capsys) -> None:
    places, pairs = Places(tmp_path, "tuning"), chosen(matrix("tuning"), quick=True, only=())
    asked = []

    def fake(arguments, **_):
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 3, "", "gate: not comparable; say why")

    monkeypatch.setattr(run.subprocess, "run", fake)
    done = places.run(pairs[0], "smoke", 0)
    done.mkdir(parents=True)
    (done / "verdict.json").write_text("{}")
    check_all(places, pairs[:2], 1, "smoke", 0)
    assert len(asked) == 1
    assert str(places.models / pairs[1].incoming) in asked[0]
    assert "not comparable" in (places.run(pairs[1], "smoke", 0) / "error.txt").read_text()
    assert "NO VERDICT" in capsys.readouterr().out


def test_the_policy_file_is_only_rewritten_when_it_changes(tmp_path) -> None:
    places, table = Places(tmp_path, "held-out"), matrix("held-out")
    write_policy(places, table)
    before = places.policy.stat().st_mtime_ns
    write_policy(places, table)
    assert places.policy.stat().st_mtime_ns == before


def test_quick_and_only_choose_pairs() -> None:
    table = matrix("held-out")
    quick = chosen(table, quick=True, only=())
    assert {p.truth for p in quick} >= {"broad", "trigger", "unwatched", "benign", "same-function"}
    assert len(quick) < len(table.pairs) / 5
    assert {p.truth for p in chosen(table, quick=False, only=["unwatched"])} == {"unwatched"}
    assert all("caution" in p.id for p in chosen(table, quick=False, only=["caution"]))


def test_the_command_line_names_every_step() -> None:
    for name in ("run", "score", "beside", "agree"):
        assert command.parser().parse_args([name, "--root", "x"]).half == "held-out"
