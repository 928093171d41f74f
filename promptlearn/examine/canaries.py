"""Canaries put to the judges of a job, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from promptlearn.examine.choosing import chosen_judges, shown_rows
from promptlearn.job import Job, check_job, open_bench
from promptlearn.judging import DiffContains, DiffTouches, ExitCode, TestsPassed
from promptlearn.judging.canary import CANARIES, CanaryReport, try_canaries
from promptlearn.records import Json
from promptlearn.runlog import Observer, nobody
from promptlearn.store.judge_rows import JudgeCheck


async def examine_canaries(
    job: Job,
    names: Sequence[str] = (),
    rows: int = 3,
    bad: str = "",
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
) -> list[CanaryReport]:
    """Put every canary to the judges of these names (by default to all that read outputs), for the first `rows`
    examples; kept in the store. Raises PromptlearnError.
    """
    examples = shown_rows(job, rows)
    check_job(job, learns=False)
    reports = []
    async with open_bench(job, observer=observer, stopping=stopping) as bench:
        for judge in chosen_judges(bench.panel, names):
            if not names and isinstance(judge, ExitCode | TestsPassed | DiffContains | DiffTouches):
                continue  # reads what a command left behind, and no output that could speak to it
            report = await try_canaries(judge, examples, bad, job.search.max_error_share)
            bench.log.show("examined", message=f"{report.judge}: {len(report.trials)} canaries")
            await job.store.judges.keep(JudgeCheck("canary", report.judge, report.source, canary_document(report)))
            reports.append(report)
    return reports


def canary_document(report: CanaryReport) -> dict[str, Json]:
    """What `judge canary --json` says of one judge. `cases` are the trials that did not end as they should."""
    outcomes = ("held", "raised", "fooled", "not_judged")
    tried = {canary.name: [trial for trial in report.trials if trial.canary == canary.name] for canary in CANARIES}
    return {
        "judge": report.judge,
        "source": report.source,
        "holds": report.holds,
        **{outcome: report.count(outcome) for outcome in outcomes},
        "blind": list(report.blind),
        "unjudged": list(report.unjudged),
        "trouble": report.trouble,
        "canaries": [
            {
                "name": canary.name,
                "what": canary.what,
                **{outcome: sum(trial.outcome == outcome for trial in tried[canary.name]) for outcome in outcomes},
            }
            for canary in CANARIES
        ],
        "cases": [asdict(trial) for trial in report.trials if trial.outcome != "held"],
    }
