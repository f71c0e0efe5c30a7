"""gatebench: planted regressions and benign changes, checked and scored.

    python -m benchmarks.gatebench run --half held-out --root DIR [--quick] [--only WORD ...] [--jobs 2] [--profile standard]
    python -m benchmarks.gatebench score --half held-out --root DIR [--json FILE]

`--quick` is a few pairs; the whole takes hours. Finished models and checks are kept in DIR, so a killed run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.gatebench.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "build the models and check the pairs"), ("score", "count what the verdicts say")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--half", choices=("tuning", "held-out"), default="held-out")
        command.add_argument("--root", type=Path, required=True, help="where models, store and runs are kept")
        command.add_argument("--profile", choices=("smoke", "standard", "full"), default="standard")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--quick", action="store_true", help="a few pairs")
        command.add_argument("--only", nargs="*", default=[], help="pairs whose name contains a word, or of one kind of truth")
        if name == "run":
            command.add_argument("--jobs", type=int, default=2)
        else:
            command.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.command == "run":
        run(args.root, args.half, quick=args.quick, only=args.only, jobs=args.jobs, profile=args.profile, seed=args.seed)
    else:
        from benchmarks.gatebench.score import report

        report(args.root, args.half, args.profile, args.seed, args.quick, args.only, args.json)


if __name__ == "__main__":
    main()
