"""Lint: what a careful person would say about a training set-up before it costs anything. Nothing here stops a run.

Rules of thumb, with their sources; plain functions of configuration and rewards. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptlearn.config import JudgeConfig, TuningConfig
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import Contains, JsonSchema, Regex
from promptlearn.tuning.stream import Group

SLOWEST, FASTEST = 1e-5, 1e-3
"""Learning rates between which LoRA learns: about ten times those of full fine-tuning, for any rank ("LoRA Without
Regret", Thinking Machines 2025); models under a billion parameters want the upper end (Tinker's formula gives 1.3e-3
for a width of 576)."""
FEWEST = 4
"""Samples per group: with fewer, a group mean is mostly chance (huggingface/trl#2872)."""
SURFACE = ("contains", "regex", "json_schema")
"""Judges that look at the surface of an answer."""


def lint(job: Job, tuning: TuningConfig) -> tuple[str, ...]:
    """Warnings about a set-up, before anything is sampled."""
    return (*_rate(tuning), *_group(tuning), *_reward(job), *_budget(job, tuning))


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


def planned_calls(job: Job, tuning: TuningConfig) -> int:
    """Task calls of a run that takes all its steps: samples, and readings of validation."""
    readings = 1 + -(-tuning.steps // tuning.validate_every)
    return tuning.steps * tuning.groups * tuning.group + readings * _validation_rows(job, tuning)


def _validation_rows(job: Job, tuning: TuningConfig) -> int:
    return len(job.dataset.validation[: tuning.validation_rows])


def _budget(job: Job, tuning: TuningConfig) -> Iterator[str]:
    calls = planned_calls(job, tuning)
    for key in ("task_calls", "calls"):
        cap = getattr(job.budget, key)
        if cap is not None and cap < calls:
            yield (
                f"budget.{key} = {cap} ends training before its {tuning.steps} steps, which take up to {calls} calls "
                f"({tuning.groups} × {tuning.group} samples per step, {_validation_rows(job, tuning)} validation rows "
                "per reading)"
            )
            return


def _surface(spec: JudgeSpec) -> bool:
    if isinstance(spec.judge, JudgeConfig):
        return spec.judge.use in SURFACE
    return isinstance(spec.judge, Contains | Regex | JsonSchema)
