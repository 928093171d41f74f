"""The noise of a job's judges on answers of its prompt, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promptlearn.errors import ConfigError, TooManyErrors
from promptlearn.examine.choosing import source_of
from promptlearn.job import Job, check_job, evaluating
from promptlearn.judging.excerpt import listing
from promptlearn.judging.noise import Judged, Noise, PanelNoise, measure_noise
from promptlearn.records import Json, Usage
from promptlearn.runlog import Observer, nobody
from promptlearn.store.judge_rows import SCORE, JudgeCheck


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """The noise of one configuration's judges."""

    run: str
    """The evaluation that gave the rollouts."""
    rollouts: int
    repeats: int
    noise: PanelNoise
    sources: Mapping[str, str]
    rows: Mapping[str, int]
    """Rows of the splits that decisions are taken on."""
    usage: Usage
    """What judging cost."""


async def examine_noise(
    job: Job,
    rollouts: int = 12,
    repeats: int = 4,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
) -> NoiseReport:
    """Answer the first validation rows with the job's prompt and judge each answer `repeats` times; kept in the store.

    Raises PromptlearnError, `ConfigError` where no judge could say anything else the second time, `TooManyErrors` where
    no answer was judged twice.
    """
    check_job(job, learns=False)
    if not job.panel(job.judge).stochastic:
        raise ConfigError("no judge of this configuration is a language model: the others say the same every time")
    examples = job.dataset.validation[:rollouts]
    async with evaluating(job, [("validation", examples)], observer, stopping) as (bench, rows):
        judged = [Judged(row.example, row.rollout, row.verdicts) for row in rows if row.rollout.error is None]
        noise = await measure_noise(bench.panel, judged, repeats)
        if not noise.score.rollouts:
            raise TooManyErrors(_unmeasured(noise, len(judged)))
        sizes = {"validation": len(job.dataset.validation), "test": len(job.dataset.test)}
        sources = {name: source_of(name, judged) for name in noise.judges}
        report = NoiseReport(bench.log.run, len(judged), repeats, noise, sources, sizes, bench.ledger.usage("judge"))
    for name, found in {**noise.judges, SCORE: noise.score}.items():
        await job.store.judges.keep(JudgeCheck("noise", name, sources.get(name, ""), _figures(report, name, found)))
    return report


def _unmeasured(noise: PanelNoise, answers: int) -> str:
    if not noise.score.asked and not noise.trouble:
        who = listing(list(noise.judges))
        return (
            f"{who} had nothing to judge: none of the {answers} answers passed the judges before; raise --rollouts, or "
            f"measure without them (`--set 'judges=[{{use: …}}]'`)"
        )
    return (
        f"none of the {answers} answers could be judged twice; most often: {noise.trouble or 'no answer'}; mend that "
        "(`promptlearn doctor` greets each model) and run the same command again"
    )


def noise_document(report: NoiseReport) -> dict[str, Json]:
    """What `judge noise --json` prints."""
    return {
        "run_id": report.run,
        "rollouts": report.rollouts,
        "repeats": report.repeats,
        "judges": [_figures(report, name, noise) for name, noise in report.noise.judges.items()],
        "score": _figures(report, SCORE, report.noise.score),
        "trouble": report.noise.trouble,
        "judge_calls": report.usage.calls,
        "cost_usd": report.usage.cost_usd,
    }


def _figures(report: NoiseReport, name: str, noise: Noise) -> dict[str, Json]:
    floors = {split: {"rows": rows, "difference": noise.floor(rows)} for split, rows in report.rows.items()}
    means = {split: noise.mean_floor(rows) for split, rows in report.rows.items()}
    return {
        "judge": name,
        "source": report.sources.get(name, ""),
        **noise.to_json(),
        "floor": floors,
        "mean_floor": means,
    }
