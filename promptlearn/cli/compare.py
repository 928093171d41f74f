"""`compare`: change the prompt, the weights, both or neither? Arms on the same evals, with intervals and cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.compare import Comparison, Lab, Plan


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    config: ConfigOption = Path("promptlearn.yaml"),
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of base, prompt, best_of_n, weights, prompt+weights, weights+prompt, rejection_sft; "
            "by default `compare.arms`.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How often each arm learns; by default as `compare.seeds` says.", min=1)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--report", metavar="FOLDER", help="Write compare.md, compare.png, compare.json and rows.jsonl."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and print what it can show; no network.")
    ] = False,
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare ways to get better answers on the same splits, judges and decoding.

    Learns each arm's prompt and weights with every seed, then reads the test split once, then says which differences
    hold and what they cost. `budget` holds for each run of it. Given again, the command goes on where it stopped.

    For example: promptlearn compare --arms base,prompt,best_of_n --seeds 3 --report comparison
    """
    from promptlearn.cli.console import note, print_json, say
    from promptlearn.compare import Plan, open_lab
    from promptlearn.compare.arms import parse_arms
    from promptlearn.config import load_config

    chosen = parse_arms(arms) if arms is not None else None
    _check_report(folder)
    with open_lab(load_config(config, tuple(overrides or ())), store, chosen, seeds) as lab:
        plan = Plan.of(lab)
        if dry_run and as_json:
            print_json({"dry_run": True, **plan.to_json()})
            return
        if dry_run:
            _show_plan(plan, say)
            return
        if not quiet:
            _show_plan(plan, note)
        comparison = _run(lab, plan, quiet)
    if folder is not None:
        _write(comparison, folder)
    if as_json:
        print_json(comparison.to_json())
        return
    _show(comparison, folder)


def _check_report(folder: Path | None) -> None:
    """What is missing is said before anything is paid for."""
    if folder is not None:
        from promptlearn.compare.figure import require_charts

        require_charts()
        folder.mkdir(parents=True, exist_ok=True)


def _show_plan(plan: Plan, line: Callable[[str], None]) -> None:
    from promptlearn.cli.console import note

    rows = ", ".join(f"{count} {split}" for split, count in plan.rows.items())
    line(f"{len(plan.arms)} arms, {len(plan.seeds)} seeds, {plan.runs} learning runs; {rows} rows")
    calls = " and ".join(f"{count} {role} calls" for role, count in plan.calls.items())
    more = ", and the further answers of best_of_n" if "best_of_n" in plan.arms and plan.samples is None else ""
    line(f"up to {calls} in all{more}")
    line(
        f"smallest difference that shows (80 % power, {len(plan.pairs)} pairs, arms disagree on "
        f"{plan.discordance:.0%} of the rows): {'none' if plan.blind else f'{plan.mde:.3f}'}; to be `better` an arm "
        "also needs an interval over seeds and rows that leaves 0 out"
    )
    for warning in plan.warnings:
        note(f"warning: {warning}", style="yellow")


def _run(lab: Lab, plan: Plan, quiet: bool) -> Comparison:
    from promptlearn.cli.compare_progress import CompareProgress
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.compare import compare as compare_arms

    with CompareProgress(quiet, lab.settings.at_once) as progress:
        return run_until_interrupted(lambda stopping: compare_arms(lab, progress, stopping, plan))


def _write(comparison: Comparison, folder: Path) -> None:
    import json

    from promptlearn.compare.figure import png
    from promptlearn.compare.page import page

    (folder / "compare.png").write_bytes(png(comparison))
    (folder / "compare.md").write_text(page(comparison, "compare.png"), encoding="utf-8")
    document = json.dumps(comparison.to_json(), ensure_ascii=False, indent=2)
    (folder / "compare.json").write_text(document + "\n", encoding="utf-8")
    lines = [json.dumps(row, ensure_ascii=False) for row in comparison.rows()]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _show(comparison: Comparison, folder: Path | None) -> None:
    from promptlearn.cli.console import as_score, count, money, say, table

    lines = []
    for arm in comparison.arms:
        test, training, per_call = arm.test, arm.training, arm.per_call
        lines.append(
            [
                arm.name,
                f"{as_score(test.score)} ({test.ci95.low:.2f} – {test.ci95.high:.2f})",
                str(test.n),
                count(round(training.calls)),
                count(round(training.tokens)),
                f"{training.gpu_s:.0f}",
                money(training.cost_usd),
                f"{training.wall_s:.0f}",
                f"{per_call.tokens:.0f}",
                money(per_call.cost_usd),
            ]
        )
    costs = ["calls", "tokens", "device s", "cost", "wall s", "tokens/answer", "cost/answer"]
    table(["arm", "test", "rows", *costs], lines, right=range(2, 10))
    pairs = [
        [
            f"{pair.b} − {pair.a}",
            f"{pair.gap.difference:+.3f} ({pair.gap.ci95.low:+.2f} – {pair.gap.ci95.high:+.2f})",
            f"{pair.gap.p_value:.2g}",
            f"{pair.p_holm:.2g}",
            pair.better or "–",
        ]
        for pair in comparison.pairs
    ]
    table(["difference", "95 %", "p", "Holm", "better"], pairs, right=(2, 3))
    if comparison.break_even_calls is not None:
        say(f"training weights has paid for itself after {comparison.break_even_calls} calls")
    if folder is not None:
        say(f"report: {folder / 'compare.md'}")
