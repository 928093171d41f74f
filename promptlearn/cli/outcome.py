"""How a run's outcome and an estimate look: tables for people, one document for programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from promptlearn.cli.console import as_score, count, counted, money, note, print_json, say, span, table
from promptlearn.cli.options import to_find

if TYPE_CHECKING:
    from promptlearn.estimate import Estimate
    from promptlearn.job import Evaluation, Job
    from promptlearn.records import Usage
    from promptlearn.result import Measure, RunResult, Tally
    from promptlearn.store import Store

DIFF_LINES = 60
"""A longer diff is cut on the screen; `promptlearn diff` shows all of it."""

WORDS = {
    "improved": "The learned prompt is better.",
    "not_proven": "No improvement is proven, so the baseline stays.",
    "regressed": "The learned prompt is worse on the test split, so the baseline stays.",
}


def print_result(result: RunResult, job: Job, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
        return
    _scores(result)
    _diff(result, job)
    _usage(result)
    for warning in result.warnings:
        note(f"warning: {warning}", style="yellow")
    for alarm in result.alarms:
        note(f"alarm ({alarm.kind}): {alarm.message}", style="red")
    if result.test_reads > 1 and result.decision != "improved":  # else a warning has said more
        note(f"warning: this run has read the test split {result.test_reads} times", style="yellow")
    kept = "learned prompt" if result.decision == "improved" else "prompt to keep (the baseline)"
    say(f"{kept}: {result.best_path}")
    _say_rules(result.rules_path)
    if result.challenger_path:
        say(f"best of the search, not proven: {result.challenger_path}")
        _say_rules(result.challenger_rules_path)
    say(f"next: promptlearn show {result.run_id}{to_find(job.store)}" + _advice(result))


def _say_rules(path: str | None) -> None:
    if path:
        say(f"where its parts came from, and what they are worth: {path}")


def _scores(result: RunResult) -> None:
    from promptlearn.report import lead_of

    say("")
    learned = result.best if result.decision == "improved" else None
    rows = [_row("baseline", result.baseline_digest, result.baseline)]
    if learned is not None:
        rows.append(_row("learned", result.best_digest, learned))
    table(["test split", "prompt", "score", "95 % interval", "rows", "errors"], rows, right=(2, 4, 5))
    lead = lead_of(result.to_json())
    say(f"{result.decision}: {WORDS[result.decision]}{f' To be proven was {lead}.' if lead else ''}")
    if result.delta.n and (learned is not None or result.challenger_digest):
        low, high = result.delta.ci95.low, result.delta.ci95.high
        say(
            f"difference {result.delta.score:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
            f"p = {result.delta.p_value:.2g} ({result.delta.test}, {result.delta.n} pairs)"
        )
    for one in result.objectives:
        if one.delta is not None and one.name != "quality":
            say(f"{one.name} {one.baseline:.4g} → {one.challenger:.4g}: {one.verdict}")
    say(f"{_fates(result.candidates)}; stopped: {result.stop_reason}; {result.wall_s:.0f} s")


def _fates(tally: Tally) -> str:
    """What became of the candidates."""
    gated = tally.gated_out - tally.unread
    fates = [f"{tally.rejected_by_contract} broke the contract"]
    if gated or not tally.unread:
        fates.append(f"{gated} ended at the gate (no better than their parent, or behind a better one)")
    if tally.unread:
        fates.append(f"{tally.unread} not read on every validation row")
    fates += [f"{tally.raced} raced", f"{tally.accepted} accepted"]
    pruned = f"; pruning tried {counted(tally.pruned, 'shorter prompt')}" if tally.pruned else ""
    return f"{counted(tally.proposed, 'candidate')}: {', '.join(fates)}{pruned}"


def _row(name: str, digest: str, measure: Measure) -> list[str]:
    interval = f"{measure.ci95.low:.3f} – {measure.ci95.high:.3f}"
    return [name, digest[:8], as_score(measure.score), interval, str(measure.n), str(measure.errors)]


def _diff(result: RunResult, job: Job) -> None:
    from promptlearn.report import as_document, unified_diff

    if result.prompt.digest == job.prompt.digest:
        return
    old, new = as_document(job.prompt), as_document(result.prompt)
    lines = [line for line in unified_diff(old, new, ("baseline", "learned")).split("\n") if line[:1] != "\\"]
    say("")
    say("\n".join(lines[:DIFF_LINES]).rstrip("\n"))
    if len(lines) > DIFF_LINES:
        say(f"… {len(lines) - DIFF_LINES} more lines: promptlearn diff {result.run_id}{to_find(job.store)}")


def _usage(result: RunResult) -> None:
    rows = [
        [
            role,
            str(usage.calls),
            str(usage.cached_calls),
            _read(usage),
            count(usage.output_tokens),
            money(usage.cost_usd),
        ]
        for role, usage in result.usage.items()
        if usage.calls or usage.cached_calls
    ]
    say("")
    table(["role", "calls", "from journal", "tokens in", "tokens out", "cost"], rows, right=(1, 2, 3, 4, 5))
    if result.resumed:
        costs = [one.usd for one in result.spent.values()]
        cost = money(None if None in costs else sum(one or 0.0 for one in costs))
        calls = counted(sum(one.calls for one in result.spent.values()), "call")
        say(f"that is this stretch; the run in all: {calls}, {cost}, replies from the journal counted like paid ones")


def _read(usage: Usage) -> str:
    """Tokens in, and how many of them the provider's prompt cache answered."""
    if not usage.cached_tokens:
        return count(usage.input_tokens)
    return f"{count(usage.input_tokens)} ({usage.cached_tokens / max(1, usage.input_tokens):.0%} cached)"


def _advice(result: RunResult) -> str:
    if result.decision == "improved":
        return f"   (or put it to use: promptlearn export {result.run_id} --to FILE)"
    if result.stop_reason == "budget":
        return f"   (or give it more: promptlearn resume {result.run_id} --set budget.task_calls=N)"
    if result.stop_reason == "metric_calls":
        return "   (GEPA made all its metric calls; a run with more budget.task_calls takes these from the journal)"
    return ""


def print_estimate(estimate: Estimate, as_json: bool) -> None:
    if as_json:
        print_json(estimate.to_json())
        return
    say("rows: " + ", ".join(f"{rows} {split}" for split, rows in estimate.rows.items()))
    say(f"judges: {', '.join(estimate.judges)}; proposers: {', '.join(estimate.proposers) or 'none'}")
    rows = [
        [
            role,
            done.model,
            span(count(done.calls.low), count(done.calls.high)),
            *(
                span(count(one.low), count(one.high)) if done.tokens_known else "unknown"
                for one in (done.input_tokens, done.output_tokens)
            ),
            span(money(done.cost_usd[0]), money(done.cost_usd[1])) if done.cost_usd else "unknown",
        ]
        for role, done in estimate.roles.items()
    ]
    table(["role", "model", "calls", "tokens in", "tokens out", "cost"], rows, right=(2, 3, 4, 5))
    for warning in estimate.warnings:
        note(f"warning: {warning}", style="yellow")


def print_evaluation(evaluation: Evaluation, name: str, store: Store, as_json: bool, failures: int) -> None:
    """A prompt's score, and the first `failures` rows that did not pass with the judges' words."""
    measure = evaluation.measure
    failed = [row for row in evaluation.rows if row.score is None or row.score < 1]
    if as_json:
        usage = {role: asdict(used) for role, used in evaluation.usage.items()}
        print_json(
            {
                "run_id": evaluation.run_id,
                "score": measure.score,
                "n": measure.n,
                "errors": measure.errors,
                "ci95": [measure.ci95.low, measure.ci95.high],
                "usage": usage,
                "failures": [
                    {
                        "example": row.example.id,
                        "output": row.rollout.output,
                        "score": row.score,
                        "explanations": [verdict.explanation for verdict in row.verdicts],
                        "error": row.trouble,
                    }
                    for row in failed[:failures]
                ],
                "wall_s": round(evaluation.wall_s, 3),
            }
        )
        return
    table(
        ["prompt", "digest", "score", "95 % interval", "rows", "errors"],
        [_row(Path(name).name, evaluation.rows[0].rollout.prompt, measure)],
        (2, 4, 5),
    )
    for row in failed[:failures]:
        words = row.trouble or "; ".join(verdict.explanation for verdict in row.verdicts)
        say(f"{row.example.id[:8]}  {words}")
    if len(failed) > failures:
        command = f"promptlearn show {evaluation.run_id} --examples{to_find(store)}"
        say(f"… {len(failed) - failures} more rows that did not pass: {command}")
