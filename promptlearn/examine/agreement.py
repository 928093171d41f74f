"""A judge of a job held against people's labels, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mode

from promptlearn.errors import ConfigError, TooManyErrors
from promptlearn.examine.choosing import chosen_judges
from promptlearn.examine.labels import FAIL, PASS, categories, category
from promptlearn.job import Job, open_bench
from promptlearn.judging import Judge, Panel
from promptlearn.judging.agreement import Agreement, agreement_of
from promptlearn.judging.panel import ask
from promptlearn.records import Json, Usage, Verdict, has_passed
from promptlearn.runlog import Observer, nobody
from promptlearn.store.judge_rows import HumanLabel, JudgeCheck


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One output that a person and the judge label differently, with both sides' words."""

    item: str
    """Names the output, for settling it (`HumanLabel.item`)."""
    example: str
    inputs: Mapping[str, Json]
    expected: Json
    output: str
    human: str
    human_words: str
    judge: str
    judge_words: str


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """How far one judge agrees with people."""

    judge: str
    source: str
    labels: tuple[str, ...]
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]
    not_judged: int
    """Outputs on which the judge came to no verdict; they are in no figure (invariant 4)."""
    usage: Usage

    def to_json(self) -> dict[str, Json]:
        """What `judge calibrate --json` prints."""
        return {
            "judge": self.judge,
            "source": self.source,
            "labels": list(self.labels),
            **self.agreement.to_json(),
            "not_judged": self.not_judged,
            "disagreements": [asdict(one) for one in self.disagreements],
            "judge_calls": self.usage.calls,
            "cost_usd": self.usage.cost_usd,
        }


async def examine_agreement(
    job: Job,
    labels: Sequence[HumanLabel],
    name: str = "",
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
) -> AgreementReport:
    """Let a judge label what people have labelled, and compare; kept in the store. Raises PromptlearnError."""
    async with open_bench(job, observer=observer, stopping=stopping) as bench:
        judge = the_judge(bench.panel, name)
        among = categories(judge, labels)
        for label in labels:
            category(label, judge, among)  # what means nothing is told before a call is paid for
        verdicts = await asyncio.gather(
            *(ask(judge, label.example, label.rollout) for label in labels), return_exceptions=True
        )
        usage = bench.ledger.usage("judge")
    for verdict in verdicts:
        if isinstance(verdict, BaseException):
            raise verdict
    said = [verdict for verdict in verdicts if isinstance(verdict, Verdict)]
    check_judged(said, "labelled outputs")
    report = _compare(judge, among, labels, said, usage)
    await job.store.judges.keep(JudgeCheck("agreement", report.judge, report.source, report.to_json()))
    return report


def check_judged(said: Sequence[Verdict], what: str) -> None:
    """Raises `TooManyErrors` with the most frequent reason where every judgement failed: that is no agreement of 0."""
    reasons = [verdict.error.message for verdict in said if verdict.error is not None]
    if said and len(reasons) == len(said):
        raise TooManyErrors(
            f"none of the {len(said)} {what} could be judged by {said[0].name}; most often: {mode(reasons)}; mend that "
            "(`promptlearn doctor` greets each model) and run the same command again"
        )


def the_judge(panel: Panel, name: str = "") -> Judge:
    """The judge of this name; without one the only judge, or the only language model. Raises `ConfigError`."""
    if name:
        return chosen_judges(panel, [name])[0]
    for found in (chosen_judges(panel), chosen_judges(panel, stochastic=True)):
        if len(found) == 1:
            return found[0]
    names = ", ".join(judge.name for judge in chosen_judges(panel))
    raise ConfigError(f"this configuration has several judges; name one of them with --judge: {names}")


def _compare(
    judge: Judge,
    among: Sequence[str],
    labels: Sequence[HumanLabel],
    said: Sequence[Verdict],
    usage: Usage,
) -> AgreementReport:
    judged = [
        (label, category(label, judge, among, verdict), verdict, judged_as(verdict, among))
        for label, verdict in zip(labels, said, strict=True)
        if verdict.score is not None and verdict.error is None
    ]
    return AgreementReport(
        judge=judge.name,
        source=next((verdict.source for verdict in said if verdict.source), judge.name),
        labels=tuple(among),
        agreement=agreement_of([(human, found) for _, human, _, found in judged], among),
        disagreements=tuple(
            _disagreement(label, human, verdict, found) for label, human, verdict, found in judged if human != found
        ),
        not_judged=len(said) - len(judged),
        usage=usage,
    )


def judged_as(verdict: Verdict, among: Sequence[str]) -> str:
    """A verdict as one of the categories."""
    if verdict.label is not None and verdict.label in among:
        return verdict.label
    return PASS if has_passed(verdict) else FAIL


def _disagreement(label: HumanLabel, human: str, verdict: Verdict, found: str) -> Disagreement:
    return Disagreement(
        item=label.item,
        example=label.example.id,
        inputs=dict(label.example.inputs),
        expected=label.example.expected,
        output=label.rollout.output,
        human=human,
        human_words=label.explanation,
        judge=found,
        judge_words=verdict.explanation,
    )
