"""gatebench: planted regressions and benign changes, checked and scored.

    python -m benchmarks.gatebench run    --root DIR [--half held-out] [--quick] [--only WORD ...] [--jobs 2]
    python -m benchmarks.gatebench score  --root DIR [--half held-out] [--json FILE]
    python -m benchmarks.gatebench beside --root DIR [--peer PEER --peer-steps N]   other detectors on the same pairs
    python -m benchmarks.gatebench agree  --root DIR --seeds 0 1                    do two seeds rest on the same features?

`--quick` is a few pairs; the whole takes hours. Finished models, checks and scores are kept in DIR: a killed command goes on
where it was, and a second one finds nothing left to do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.gatebench import beside
from benchmarks.gatebench.matrix import HALVES
from benchmarks.gatebench.run import run


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(dest="command", required=True)
    texts = {
        "run": "build the models and check the pairs",
        "score": "count what the verdicts say",
        "beside": "score the same pairs with other detectors, and compare",
        "agree": "compare the verdicts of two seeds",
    }
    made = {name: commands.add_parser(name, help=text) for name, text in texts.items()}
    for command in made.values():
        command.add_argument("--root", type=Path, required=True, help="where models, store and runs are kept")
        command.add_argument("--half", choices=HALVES, default="held-out")
        command.add_argument("--profile", choices=("smoke", "standard", "full"), default="standard")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--quick", action="store_true", help="a few pairs")
        command.add_argument("--only", nargs="*", default=[], help="pairs whose name contains a word, or of one kind of truth")
    made["run"].add_argument("--jobs", type=int, default=2)
    made["score"].add_argument("--json", type=Path)
    made["agree"].add_argument("--seeds", type=int, nargs=2, default=(0, 1))
    made["beside"].add_argument("--detectors", nargs="+", choices=list(beside.DETECTORS), help="default: all that can run")
    made["beside"].add_argument("--peer", type=Path, help="a checkout of dfc_learning")
    made["beside"].add_argument("--peer-steps", type=int)
    made["beside"].add_argument("--peer-lr", type=float)
    made["beside"].add_argument("--table", action="store_true", help="only print the table of what is scored already")
    return root


def main() -> None:
    args = parser().parse_args()
    if args.command == "run":
        run(args.root, args.half, quick=args.quick, only=args.only, jobs=args.jobs, profile=args.profile, seed=args.seed)
    elif args.command == "score":
        from benchmarks.gatebench.score import report

        report(args.root, args.half, args.profile, args.seed, args.quick, args.only, args.json)
    elif args.command == "agree":
        from benchmarks.gatebench.agreement import agreement, render

        print(render(agreement(args.root, args.half, args.profile, tuple(args.seeds), only=args.only)))
    else:
        _beside(args)


def _beside(args: argparse.Namespace) -> None:
    from benchmarks.gatebench.compare import measure, table
    from benchmarks.gatebench.matrix import matrix
    from benchmarks.gatebench.run import chosen

    settings = beside.Settings(args.seed, args.peer, args.peer_steps, args.peer_lr)
    detectors = args.detectors or list(beside.available(settings))
    if not args.table:
        pairs = chosen(matrix(args.half), quick=args.quick, only=args.only)
        measure(args.root, args.half, args.profile, args.seed, pairs, detectors, settings)
    print(table(args.root, args.profile, args.seed, detectors, only=args.only))


if __name__ == "__main__":
    main()
