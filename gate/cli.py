"""The command line: parse, call, render, exit code. Nothing is decided here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from gate import __version__, interrupt
from gate.errors import (
    EXIT_FAIL,
    EXIT_INTERRUPTED,
    EXIT_NO_VERDICT,
    EXIT_PASS,
    GateError,
    UsageError,
    printable,
)

if TYPE_CHECKING:
    from gate.check import Request
    from gate.progress import Progress
    from gate.reports import JunitWarnAs
    from gate.store import Store
    from gate.verdict.types import Verdict

INTERRUPTED = "interrupted; the same command resumes after the last finished stage"
EXIT_CODES = """\b
Exit codes:
  0    pass (and warn, unless --fail-on warn or --warn-exit-code says otherwise)
  1    fail; only after verdict.json is complete
  2    the command line or the policy is wrong
  3    no verdict: inconclusive, incomparable or unusable models, a crash, out of memory
  130  interrupted
"""

models = click.argument("models", nargs=2, metavar="BASELINE INCOMING")


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gate")
def cli() -> None:
    r"""Is this new model safe to swap in?

    gate compares an incoming open-weight model with the trusted baseline, says which watched behaviours changed, which features
    inside the model cause it, and answers pass, warn or fail.

    \b
    Start here:
      gate check BASELINE INCOMING --policy POLICY.yaml
    """


def _shared(function: click.decorators.FC) -> click.decorators.FC:
    """Options of every command that runs models."""
    options = [
        click.option("--policy", "policy_path", required=True, type=click.Path(path_type=Path), help="Policy file (YAML)."),
        click.option(
            "--profile",
            type=click.Choice(["smoke", "standard", "full"]),
            default="standard",
            show_default=True,
            help="How much work: a quick look, a gate, or a release.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["transformers"]),
            default="transformers",
            show_default=True,
            help="What runs the models.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of everything random."
        ),
        click.option(
            "--store",
            "store_path",
            type=click.Path(path_type=Path),
            envvar="GATE_STORE",
            help="Where finished stages are kept.  [default: the user's cache folder]",
        ),
        click.option("--quiet", is_flag=True, help="Plain progress lines instead of bars."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@cli.command(epilog=EXIT_CODES)
@models
@_shared
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("gate-run"),
    show_default=True,
    help="Run folder: verdict.json, junit.xml, report.md, report.html.",
)
@click.option(
    "--fail-on", type=click.Choice(["fail", "warn"]), default="fail", show_default=True, help="The mildest status that exits 1."
)
@click.option("--warn-exit-code", type=click.IntRange(0, 125), default=0, show_default=True, help="Exit code of a warn.")
@click.option(
    "--junit-warn-as",
    type=click.Choice(["skipped", "failure", "pass"]),
    default="skipped",
    show_default=True,
    help="How a warn looks in junit.xml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json instead of the table.")
def check(
    models: tuple[str, str],
    policy_path: Path,
    profile: str,
    engine: str,
    device: str,
    seed: int,
    store_path: Path | None,
    quiet: bool,
    out: Path,
    fail_on: str,
    warn_exit_code: int,
    junit_warn_as: str,
    as_json: bool,
) -> None:
    """Compare two models and answer pass, warn or fail.

    BASELINE is the model that is trusted today, INCOMING the one that would replace it: folders with config.json,
    safetensors and a tokenizer, or hub ids pinned as ORG/NAME@40-DIGIT-REVISION. Nothing in either folder is executed.
    """
    from gate.check import run_check
    from gate.reports import json_report, terminal, write_all
    from gate.run_folder import prepare

    request = _request(models, policy_path, profile, engine, device, seed)
    prepare(out)
    verdict = run_check(request, _store(store_path), _progress(quiet))
    write_all(verdict, out, junit_warn_as=_warn_as(junit_warn_as))
    if as_json:
        click.echo(json_report.render(verdict), nl=False)
    else:
        click.echo(terminal.render_table(verdict, width=_width(), color=sys.stdout.isatty(), run_folder=str(out)), nl=False)
    sys.exit(_exit_code(verdict, fail_on, warn_exit_code))


@cli.command()
@models
@_shared
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many features to list.")
@click.option("--json", "as_json", is_flag=True, help="Print the features as JSON.")
def diff(
    models: tuple[str, str],
    policy_path: Path,
    profile: str,
    engine: str,
    device: str,
    seed: int,
    store_path: Path | None,
    quiet: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List what changed inside: added (+), removed (-) and rewired (~) features. No verdict.

    The policy supplies the texts that both models read.
    """
    from gate.check import run_diff
    from gate.reports import features as listing

    request = _request(models, policy_path, profile, engine, device, seed)
    found = run_diff(request, _store(store_path), _progress(quiet))
    if as_json:
        click.echo(listing.render_json(found[:limit]), nl=False)
    else:
        click.echo(listing.render_table(found[:limit], len(found), width=_width(), color=sys.stdout.isatty()), nl=False)


@cli.command()
@click.argument("baseline")
@_shared
@click.option("--out", type=click.Path(path_type=Path), help="Folder for calibration.json.  [default: it stays in the store]")
@click.option("--json", "as_json", is_flag=True, help="Print calibration.json instead of the table.")
def calibrate(
    baseline: str,
    policy_path: Path,
    profile: str,
    engine: str,
    device: str,
    seed: int,
    store_path: Path | None,
    quiet: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare BASELINE with rounded copies of itself: what the figures do where nothing changed.

    Later checks of this baseline under the same policy and profile find the result in the store: thresholds that the noise
    exceeds are raised, and a policy whose outcomes rounding alone flips too often is refused (exit 2), here and there.
    """
    from gate.calibration.apply import FILE, refuse_noisy
    from gate.calibration.run import CalibrationRequest, run_calibration
    from gate.policy.load import load_policy
    from gate.profiles import profile_named
    from gate.reports import calibration as report
    from gate.run_folder import prepare
    from gate.store import atomic_write

    rules = load_policy(policy_path)
    request = CalibrationRequest(baseline, rules, profile_named(profile), seed, engine, device)
    if out is not None:
        prepare(out, (FILE,))
    found = run_calibration(request, _store(store_path), _progress(quiet))
    if out is not None:
        atomic_write(out / FILE, report.render_json(found).encode("utf-8"))
    if as_json:
        click.echo(report.render_json(found), nl=False)
    else:
        click.echo(report.render_table(found, rules, width=_width(), color=sys.stdout.isatty()), nl=False)
    refuse_noisy(rules, found)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "junit", "markdown", "html", "all"]),
    default="table",
    show_default=True,
    help="What to print; `all` writes every file into the run folder again.",
)
@click.option(
    "--junit-warn-as",
    type=click.Choice(["skipped", "failure", "pass"]),
    default="skipped",
    show_default=True,
    help="How a warn looks in JUnit.",
)
def report(run: Path, form: str, junit_warn_as: str) -> None:
    """Render the verdict of a finished RUN (its folder or verdict.json) again."""
    from gate.reports import read_verdict, write_all

    verdict = read_verdict(run)
    warn_as = _warn_as(junit_warn_as)
    if form == "all":
        for path in write_all(verdict, run if run.is_dir() else run.parent, junit_warn_as=warn_as):
            click.echo(printable(str(path)))
    else:
        click.echo(_rendered(verdict, form, warn_as, run), nl=False)


def _rendered(verdict: Verdict, form: str, warn_as: JunitWarnAs, run: Path) -> str:
    """One format. Each is imported only when it is asked for: a table should not wait for the HTML templates."""
    if form == "json":
        from gate.reports import json_report

        return json_report.render(verdict)
    if form == "junit":
        from gate.reports import junit

        return junit.render(verdict, warn_as=warn_as)
    if form == "markdown":
        from gate.reports import markdown

        return markdown.render(verdict)
    if form == "html":
        from gate.reports import html

        return html.render(verdict)
    from gate.reports import terminal

    return terminal.render_table(verdict, width=_width(), color=sys.stdout.isatty(), run_folder=str(run))


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("name")
def explain(run: Path, name: str) -> None:
    """Explain one behaviour or feature (such as +744) of a finished RUN in plain words."""
    from gate.reports import read_verdict
    from gate.reports.explain import explain as explained

    click.echo(explained(read_verdict(run), name, width=min(_columns(), 120)), nl=False)


@cli.group()
def policy() -> None:
    """Check a policy file, say what it can see, or print its JSON Schema."""


@policy.command()
@click.argument("path", type=click.Path(path_type=Path))
def lint(path: Path) -> None:
    """Say everything that is wrong or doubtful in a policy, with line numbers. Exit 2 on errors."""
    from gate.policy.lint import lint_policy

    messages = lint_policy(path)
    for message in messages:
        click.echo(printable(f"{message.where}: {message.level}: {message.message}"))
    errors = sum(message.level == "error" for message in messages)
    click.echo(f"{errors} errors, {len(messages) - errors} warnings", err=True)
    sys.exit(2 if errors else EXIT_PASS)


@policy.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--power", type=click.FloatRange(0.5, 0.999), default=0.8, show_default=True, help="Probability of finding the drift."
)
@click.option(
    "--base-rate",
    type=click.FloatRange(0, 1),
    help="Rate of every behaviour in the baseline.  [default: the worst of three]",
)
@click.option(
    "--flip-rate",
    type=click.FloatRange(0, 0.25),
    default=0.02,
    show_default=True,
    help="Share of prompts that flip each way without any drift.",
)
@click.option(
    "--profile",
    type=click.Choice(["smoke", "standard", "full"]),
    default="standard",
    show_default=True,
    help="Whose probes are planned.",
)
@click.option("--strict", is_flag=True, help="Exit 2 if a rule can never fire, unless the policy itself silences it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def plan(
    path: Path, power: float, base_rate: float | None, flip_rate: float, profile: str, strict: bool, as_json: bool
) -> None:
    """Say what a policy's prompts can show: the smallest drift they find, and rules that can never fire. Loads no model."""
    from gate.plan.reach import plan_policy
    from gate.plan.table import render
    from gate.policy.load import load_policy
    from gate.profiles import profile_named

    found = plan_policy(load_policy(path), profile_named(profile), power=power, base_rate=base_rate, flip_rate=flip_rate)
    click.echo(found.model_dump_json(indent=2) if as_json else render(found), nl=as_json)
    sys.exit(UsageError.exit_code if strict and any(not one.chosen for one in found.silent) else EXIT_PASS)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from gate.policy.schema import policy_json_schema

    click.echo(policy_json_schema())


@cli.command()
def doctor() -> None:
    """Say what this machine has: Python, torch, devices, memory, the store."""
    from gate.doctor import diagnose

    checks = diagnose()
    for item in checks:
        hint = f"  ({item.hint})" if item.hint else ""
        click.echo(printable(f"{item.status:<5} {item.name:<14} {item.detail}{hint}"))
    sys.exit(EXIT_NO_VERDICT if any(item.status == "fail" for item in checks) else EXIT_PASS)


def _request(models: tuple[str, str], policy_path: Path, profile: str, engine: str, device: str, seed: int) -> Request:
    from gate.check import Request
    from gate.policy.load import load_policy
    from gate.profiles import profile_named

    return Request(models[0], models[1], load_policy(policy_path), profile_named(profile), seed, engine, device)


def _store(path: Path | None) -> Store:
    from gate.store import Store, default_root

    return Store(path or default_root())


def _progress(quiet: bool) -> Progress:
    from gate.bars import progress_for

    return progress_for(quiet)


def _width() -> int | None:
    """None: as wide as the terminal; off a terminal a width that logs and pull requests can show."""
    return None if sys.stdout.isatty() else 120


def _warn_as(choice: str) -> JunitWarnAs:
    return "failure" if choice == "failure" else "pass" if choice == "pass" else "skipped"


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def _exit_code(verdict: Verdict, fail_on: str, warn_exit_code: int) -> int:
    if verdict.status == "warn":
        return EXIT_FAIL if fail_on == "warn" else warn_exit_code
    return {"pass": EXIT_PASS, "fail": EXIT_FAIL, "inconclusive": EXIT_NO_VERDICT}[verdict.status]


def main() -> NoReturn:
    """Entry point: no traceback reaches a user, and no error looks like a fail."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    interrupt.install()
    try:
        cli(standalone_mode=False)
    except GateError as error:
        _stop(error.one_line(), error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _interrupted()
    except click.ClickException as error:
        _stop(_usage(error), UsageError.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_NO_VERDICT)
    except MemoryError:
        _stop("out of memory; try --profile smoke or a machine with more", EXIT_NO_VERDICT)
    except Exception as error:
        if interrupt.pending():
            _interrupted()
        if os.environ.get("GATE_DEBUG"):
            raise
        _stop(f"internal error: {type(error).__name__}: {error}; GATE_DEBUG=1 shows where", EXIT_NO_VERDICT)
    sys.exit(EXIT_PASS)


def _usage(error: click.ClickException) -> str:
    """Click's message with the command it belongs to."""
    context = getattr(error, "ctx", None)
    command = context.command_path.replace("main", "gate", 1) if context else "gate"
    return f"{error.format_message()} See `{command} --help`."


def _interrupted() -> NoReturn:
    """Leave at once: torch's own threads, caught in a step, abort an orderly shutdown (SIGABRT instead of 130)."""
    print(f"gate: {INTERRUPTED}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(EXIT_INTERRUPTED)


def _stop(line: str, code: int) -> NoReturn:
    """One line on stderr, then leave."""
    print(f"gate: {printable(line)}", file=sys.stderr, flush=True)
    sys.exit(code)
