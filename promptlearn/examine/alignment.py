"""Aligning a judge: its own prompt learned from people's labels, with the optimizer that learns any prompt.

A judge is a prompt: what it answers on a labelled output is the output of a program, a person's label is the right
answer, and what the person said about it is the critique. The labels are split by hash like any table, so that
agreement before and after is told on labels that nothing was learned from (invariants 5 and 7).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import yaml

from promptlearn.dataset import Dataset, load_dataset
from promptlearn.errors import AssetError, ConfigError, DataError, UsageError
from promptlearn.examine.agreement import judged_as, the_judge
from promptlearn.examine.labels import categories, category
from promptlearn.job import Job, JudgeSpec, run_job
from promptlearn.judging import JudgeFile, LLMJudge, load_judge_file
from promptlearn.judging.agreement import Agreement, agreement_of
from promptlearn.judging.finding import found
from promptlearn.models.base import Model
from promptlearn.programs import Program
from promptlearn.prompt.chat import LiteralDumper
from promptlearn.prompt.file import write_bytes
from promptlearn.records import (
    Contract,
    Example,
    Json,
    Layout,
    Message,
    Prompt,
    Role,
    Rollout,
    Verdict,
    as_text,
    fingerprint,
)
from promptlearn.report import prompt as stored_prompt
from promptlearn.result import RunResult
from promptlearn.runlog import Observer, nobody
from promptlearn.store.judge_rows import HumanLabel, JudgeCheck
from promptlearn.store.rows import ALIGNS
from promptlearn.template import render, template_variables

T = TypeVar("T")

LEAST = 20
"""Labels below which nothing can be learned and proven."""
PROPOSERS = ("rewrite", "edit", "rules")
"""Not `demos`: a demonstration would put text from outside into the judge's own prompt."""
_OPENING = re.compile(r"\{(?=[{%#])")


@dataclass(frozen=True, slots=True)
class AlignmentReport:
    """What came of aligning one judge."""

    judge: str
    result: RunResult
    before: Agreement
    """Of the judge as it was, on the labels of the test split."""
    after: Agreement
    """Of the learned one."""
    not_judged: tuple[int, int]
    """Labels on which the judge as it was, and the learned one, came to no verdict; they are in no figure."""
    path: Path
    """The judge's file with the learned prompt; in the run's folder and as it was where nothing is proven."""
    unproven: Path | None = None
    """The judge's file with the best prompt of the search, where that is not proven."""

    def to_json(self) -> dict[str, Json]:
        """What `judge align --json` prints."""
        return {
            "judge": self.judge,
            "run_id": self.result.run_id,
            "decision": self.result.decision,
            "path": str(self.path),
            "unproven": None if self.unproven is None else str(self.unproven),
            "held_out": {
                "before": self.before.to_json(),
                "after": self.after.to_json(),
                "not_judged": dict(zip(("before", "after"), self.not_judged, strict=True)),
            },
            "result": self.result.to_json(),
        }


async def align_judge(
    job: Job,
    labels: Sequence[HumanLabel],
    name: str = "",
    to: Path | None = None,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
) -> AlignmentReport:
    """Learn a better prompt for one of the job's judges and prove it on held-out labels; kept in the store.

    `search` and `budget` are the job's own, with the judge's model in the place of the task's. The same call goes on
    where a killed one stopped. `to` is written where the new prompt is proven, and may replace a judge's file alone.
    Raises PromptlearnError.
    """
    _refuse_what_is_no_judge(to)
    judge = _alignable(job, name)
    learning = _learning_job(job, judge, labels)
    result = await run_job(learning, observer, stopping)
    folder, improved = job.store.run_dir(result.run_id), result.prompt.digest != learning.prompt.digest
    path = to if to is not None and improved else folder / f"{judge.file.name}.yaml"
    write_judge(aligned(judge, result.prompt) if improved else judge.file, path)
    unproven = None
    if result.challenger_digest:
        tried = stored_prompt(job.store, result.run_id, result.challenger_digest)
        unproven = folder / f"{judge.file.name}.not_proven.yaml"
        write_judge(aligned(judge, tried), unproven)
    report = _report(judge, learning, result, path, unproven)
    await job.store.judges.keep(JudgeCheck("alignment", judge.name, judge.source, report.to_json()))
    return report


def judge_prompt(judge: LLMJudge) -> Prompt:
    """What is learned of a judge: its system message as it reads now; paragraphs about fences stay as they are."""
    text = render(judge.file.system, judge.settings, f"judge {judge.name}, system").strip()
    paragraphs = text.split("\n\n")
    fixed = [paragraph for paragraph in paragraphs if "<<<" in paragraph]
    learned = "\n\n".join(paragraph for paragraph in paragraphs if "<<<" not in paragraph)
    after = "".join(f"\n\n{paragraph}" for paragraph in fixed)
    return Prompt((Message("system", learned),), contract=Contract(), layout=Layout("text", after=after))


def aligned(judge: LLMJudge, prompt: Prompt) -> JudgeFile:
    """The judge's file with a learned prompt, as a template that says exactly that; one version on."""
    text = prompt.layout.before + prompt.learned_text() + prompt.layout.after
    system = _OPENING.sub("{{ '{' }}", text)
    asked = template_variables(judge.file.user, f"judge {judge.name}, user")
    inputs = [name for name in judge.file.inputs if name != "criteria" or name in asked]
    changed = {**judge.file.model_dump(mode="json"), "system": system, "inputs": inputs, "checklist": judge.checklist}
    changed |= {"version": judge.file.version + 1, "criteria": judge.settings.get("criteria", "")}
    return JudgeFile.model_validate(changed)


def write_judge(file: JudgeFile, path: Path) -> None:
    """A judge's file that `use:` can name."""
    content = {key: value for key, value in file.model_dump(mode="json").items() if value not in (None, {}, "")}
    text = yaml.dump(content, Dumper=LiteralDumper, sort_keys=False, allow_unicode=True, width=120)
    if yaml.safe_load(text) != content:  # a text that a literal block can not express
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_bytes(path, text.encode())


@dataclass(frozen=True, slots=True)
class JudgeProgram:
    """A judge as a program: its prompt is the one under optimisation, and what it labels an output is its answer."""

    judge: LLMJudge
    baseline: str
    """Digest of the prompt that stands for the judge's file as it is."""
    labels: Mapping[str, HumanLabel]
    """Example id of the learning job → what a person labelled."""
    among: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    takes_demonstrations: bool = True

    @property
    def identity(self) -> str:
        return fingerprint([self.judge.digest, sorted(self.labels), list(self.among)])

    def open(self, model: Model) -> Program:
        return _Judging(self, model)


class _Judging:
    name = "judge"

    def __init__(self, source: JudgeProgram, model: Model) -> None:
        self._source = source
        self._model = model

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        started = time.monotonic()
        source, label = self._source, self._source.labels[example.id]
        file = source.judge.file if prompt.digest == source.baseline else aligned(source.judge, prompt)
        judge = source.judge.with_file(file, self._model)
        verdict = await judge.judge(label.example, label.rollout)
        return Rollout(
            prompt.digest,
            example.id,
            output="" if verdict.error else judged_as(verdict, source.among),
            error=verdict.error,
            usage=verdict.usage,
            seconds=time.monotonic() - started,
            evidence={"explanation": verdict.explanation},
        )


@dataclass(frozen=True, slots=True)
class AgreesWithPeople:
    """Scores 1 where the judge under optimisation says what a person said, and quotes both sides where it does not."""

    words: Mapping[str, str]
    """Example id → what the person said about the output."""
    name: str = "agrees_with_people"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        wanted = as_text(example.expected)
        if rollout.output == wanted:
            return found(self.name, rollout, 1.0, f"the judge and a person both say {wanted}", label=wanted)
        words = self.words.get(example.id, "")
        said = f"the judge says {rollout.output}: {rollout.evidence.get('explanation', '')}\nA person says {wanted}"
        explanation = f"{said}: {words}" if words else f"{said}."
        suggestion = f"Label {wanted} where this holds: {words}" if words else None
        return found(self.name, rollout, 0.0, explanation, label=f"not {wanted}", suggestion=suggestion)


def _refuse_what_is_no_judge(path: Path | None) -> None:
    """Raises `UsageError` for a file that is something else, which a new judge's file would replace."""
    if path is None or not path.exists() or (path.is_file() and not path.stat().st_size):
        return
    try:
        load_judge_file(str(path.resolve()))
    except AssetError:
        raise UsageError(f"{path} exists and is no judge's file, so it stays; name another file with --to") from None


def _alignable(job: Job, name: str) -> LLMJudge:
    judge = the_judge(job.panel(job.judge), name)
    if not isinstance(judge, LLMJudge):
        raise ConfigError(f"judge {judge.name} has no prompt to learn; only judges from a file can be aligned")
    if judge.checklist and "criteria" not in template_variables(judge.file.user):
        raise ConfigError(
            f"judge {judge.name} shows its checklist in `system` alone, which is what is learned; write "
            "{{ criteria }} in `user` too"
        )
    return judge


def _learning_job(job: Job, judge: LLMJudge, labels: Sequence[HumanLabel]) -> Job:
    among = categories(judge, labels)
    by_id = {label.item: label for label in labels}
    prompt = judge_prompt(judge)
    program = JudgeProgram(judge, prompt.digest, by_id, among)
    proposers = [name for name in PROPOSERS if job.meta is not None or name == "rules"]
    calls = [cap for cap in (job.budget.task_calls, job.budget.judge_calls) if cap is not None]
    budget = replace(job.budget, task_calls=min(calls, default=None), roles=_as_task(job.budget.roles))
    return replace(
        job,
        prompt=prompt,
        file=None,
        dataset=_dataset(judge, by_id, among),
        task=judge.model,
        judge=None,
        judges=(JudgeSpec(AgreesWithPeople({item: label.explanation for item, label in by_id.items()})),),
        reviews=(),
        guards=(),
        scope="",
        proposers=tuple(proposers),
        meta_prompts={"rewrite": "align"},
        budget=budget,
        limits=_as_task(job.limits),
        described={ALIGNS: judge.source},
        program=program,
    )


def _as_task(of: Mapping[Role, T]) -> dict[Role, T]:
    """What is said about the judge's model, said about the task's, in whose place it is."""
    return {**of, "task": of["judge"]} if "judge" in of else dict(of)


def _dataset(judge: LLMJudge, labels: Mapping[str, HumanLabel], among: Sequence[str]) -> Dataset:
    """One row per label; outputs to the same inputs stay in one split."""
    if len(labels) < LEAST:
        raise DataError(f"{len(labels)} labels are too few to learn from and to prove it; give at least {LEAST}")
    rows = [
        {
            "item": item,
            "input": "\n".join(f"{name}: {as_text(value)}" for name, value in label.example.inputs.items()),
            "output": label.rollout.output,
            "label": category(label, judge, among),
            "of": fingerprint(dict(label.example.inputs)),
        }
        for item, label in labels.items()
    ]
    return load_dataset(rows, inputs=["input", "output"], expected="label", id="item", group="of")


def _report(judge: LLMJudge, job: Job, result: RunResult, path: Path, unproven: Path | None) -> AlignmentReport:
    """Agreement with people on the test split before and after, on the labels that both have judged."""
    wanted = {example.id: as_text(example.expected) for example in job.dataset.test}
    before, after = (_said(job, result.run_id, digest) for digest in (result.baseline_digest, result.best_digest))
    both = [item for item in wanted if item in before and item in after]
    program = job.program
    assert isinstance(program, JudgeProgram)  # this module made the job
    return AlignmentReport(
        judge=judge.name,
        result=result,
        before=agreement_of([(wanted[item], before[item]) for item in both], program.among),
        after=agreement_of([(wanted[item], after[item]) for item in both], program.among),
        not_judged=(sum(item not in before for item in wanted), sum(item not in after for item in wanted)),
        path=path,
        unproven=unproven,
    )


def _said(job: Job, run: str, digest: str) -> dict[str, str]:
    """Label's item → what the judge with this prompt said of it, from what the proof has read."""
    rollouts = [row.rollout for row in job.store.reader.rollouts(run, digest, "test")]
    return {one.example: one.output for one in rollouts if one.error is None}
