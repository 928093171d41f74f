"""Lint: what a careful person would say about a training set-up before it costs anything. Nothing here stops a run.

Rules of thumb, with their sources; plain functions of configuration and rewards. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptlearn.config import JudgeConfig, TuningConfig
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import Contains, JsonSchema, Regex, judge_needs_model
from promptlearn.records import Role, Split
from promptlearn.tuning.stream import Group

SLOWEST, FASTEST = 1e-5, 1e-3
"""Learning rates between which LoRA learns: about ten times those of full fine-tuning, for any rank ("LoRA Without
Regret", Thinking Machines 2025); models under a billion parameters want the upper end (Tinker's formula gives 1.3e-3
for a width of 576)."""
FEWEST = 4
"""Samples per group: with fewer, a group mean is mostly chance (huggingface/trl#2872)."""
HALF = 0.5
"""Weight of a ranking from which on it may outweigh judges that say pass or fail."""
SURFACE = ("contains", "regex", "json_schema")
"""Judges that look at the surface of an answer."""


def lint(job: Job, tuning: TuningConfig) -> tuple[str, ...]:
    """Warnings about a set-up, before anything is sampled."""
    return (*_rate(tuning), *_group(tuning), *_reward(job), *_ranking(job, tuning), *_budget(job, tuning))


def lint_base(groups: Sequence[Group]) -> tuple[str, ...]:
    """Warnings about what the untrained policy earns on its first groups, sampled before anything is learned."""
    rewards = [reward.value for group in groups for reward in group.rewards if reward.value is not None]
    if not rewards or min(rewards) != max(rewards):
        return ()
    what = {0.0: "scores 0", 1.0: "is right already"}.get(rewards[0], f"scores {rewards[0]:g}")
    advice = "an easier prompt, demonstrations or a larger base" if rewards[0] < 1 else "harder examples"
    return (
        f"the base {what} in all of its first {len(rewards)} samples: without differences there is nothing to learn "
        f"from; give it {advice}",
    )


def _rate(tuning: TuningConfig) -> Iterator[str]:
    rate = tuning.learning_rate
    if not SLOWEST <= rate <= FASTEST:
        much = "too little to learn anything" if rate < SLOWEST else "so much that answers may turn to gibberish"
        yield f"tuning.learning_rate = {rate:g} is {much}; LoRA learns at {SLOWEST:g} to {FASTEST:g}"


def _group(tuning: TuningConfig) -> Iterator[str]:
    if tuning.group < FEWEST and tuning.method == "rl":
        yield (
            f"tuning.group = {tuning.group}: samples are compared with each other, and fewer than {FEWEST} say little; "
            "take 8, and fewer tuning.groups"
        )


def _reward(job: Job) -> Iterator[str]:
    steering = [spec for spec in job.judges if not spec.gold]
    counted = [spec for spec in steering if spec.weight > 0]
    vetoes = any(spec.veto for spec in steering)
    if all(_surface(spec) for spec in counted) and not vetoes:
        yield (
            "every judge that counts looks at the surface of an answer alone, and a policy learns to write just what "
            "they look for; add a judge that reads the answer, or one with `veto: true`"
        )
    if job.judge is not None and job.judge.identity == job.task.identity and job.llm_judges():
        yield "the policy's own base is its judge: it will learn what flatters itself; name another models.judge"
    if job.llm_judges() and not vetoes and not any(spec.gold for spec in job.judges):
        yield (
            "the reward is a language model's opinion, which training learns to please; add a code judge with "
            "`veto: true`, or a second judge with `gold: true` that does not steer and shows when the two part"
        )


def _ranking(job: Job, tuning: TuningConfig) -> Iterator[str]:
    ranking = tuning.ranking
    if ranking is None:
        return
    if ranking.weight >= HALF:
        yield (
            f"tuning.ranking.weight = {ranking.weight:g}: an answer that no judge passes may earn as much as one that "
            f"all pass, if it ranks high; below {HALF:g} judges that say pass or fail come first"
        )
    if job.models()[ranking.model].identity == job.task.identity:
        role = ranking.model
        yield f"the policy's own base ranks its answers: it will learn what flatters itself; name another models.{role}"


def planned_calls(job: Job, tuning: TuningConfig) -> dict[Role, int]:
    """Calls of a run that takes all its steps, at most (a reply that can not be read is asked for once more): samples
    and readings of validation, their judgements, and a ranking of each group.
    """
    samples, rankings = tuning.steps * tuning.groups * tuning.group, tuning.steps * tuning.groups
    read = (1 + -(-tuning.steps // tuning.validate_every)) * _validation_rows(job, tuning)
    judged = _llm_judges(job, "train") * samples + _llm_judges(job, "validation") * read
    calls: dict[Role, int] = {"task": samples + read, "judge": judged, "meta": 0}
    if tuning.ranking is not None:
        calls[tuning.ranking.model] += rankings
    return calls


def _llm_judges(job: Job, split: Split) -> int:
    """How many judges of rows of this split are language models."""
    asked = [spec.judge for spec in job.judges if not (spec.gold and split == "train")]
    return sum(isinstance(judge, JudgeConfig) and judge_needs_model(judge.use) for judge in asked)


def _validation_rows(job: Job, tuning: TuningConfig) -> int:
    return len(job.dataset.validation[: tuning.validation_rows])


def _budget(job: Job, tuning: TuningConfig) -> Iterator[str]:
    planned = planned_calls(job, tuning)
    needed = {"task_calls": planned["task"], "judge_calls": planned["judge"], "meta_calls": planned["meta"]}
    for key, calls in (needed | {"calls": sum(planned.values())}).items():
        cap = getattr(job.budget, key)
        if cap is not None and cap < calls:
            yield (
                f"budget.{key} = {cap} ends training before its {tuning.steps} steps, which take up to {calls} calls "
                f"({tuning.groups} × {tuning.group} samples per step, {_validation_rows(job, tuning)} validation rows "
                f"per reading{', one ranking per group' if tuning.ranking else ''})"
            )
            return


def _surface(spec: JudgeSpec) -> bool:
    if isinstance(spec.judge, JudgeConfig):
        return spec.judge.use in SURFACE
    return isinstance(spec.judge, Contains | Regex | JsonSchema)
