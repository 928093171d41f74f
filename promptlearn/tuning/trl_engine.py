"""The `trl` engine: TRL's GRPOTrainer takes all the steps, on our rows, with our judges, ledger, diary and adapters.

TRL samples, learns and saves in a thread of its own; its reward function asks our judges on the loop that `run` is
awaited on. What it can not do is refused by `check_trl`. Each of its checkpoints has our progress in it, so that a run
goes on from the last one. Knows TRL; knows no judge and no store.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PrinterCallback, TrainerCallback

from promptlearn.config import TuningConfig
from promptlearn.ledger import Charge, Ledger, Reservation
from promptlearn.records import Example, Message, Usage
from promptlearn.store.tuning_rows import TuningStep
from promptlearn.tuning.advantages import SPREAD, Credited
from promptlearn.tuning.base import CLIPS, Adam, Sample
from promptlearn.tuning.device import DeviceTime
from promptlearn.tuning.failures import check_failures, check_rankings
from promptlearn.tuning.loop import Diary, Plan
from promptlearn.tuning.measures import Seconds, measured, sample_rows
from promptlearn.tuning.progress import Progress
from promptlearn.tuning.stream import Draw, Group, Source
from promptlearn.tuning.trl_weights import TrlWeights
from promptlearn.tuning.validation import Readings

T = TypeVar("T")
_PROGRESS = "promptlearn.json"
_SCALES = {"group_norm": "group", "centre": "none", "batch_std": "batch"}
"""Our advantage → TRL's `scale_rewards`."""
_LOSSES: Mapping[str, dict[str, str]] = {
    "importance_sampling": {"loss_type": "dapo"},
    "ppo": {"loss_type": "dapo"},
    "dapo": {"loss_type": "dapo"},
    "grpo": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "cispo": {"loss_type": "cispo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
}
"""TRL's samples are always fresh here, so a ratio is 1 and nothing is clipped: `importance_sampling` is `dapo`."""


_LOGGED = {
    "loss": "loss",
    "kl": "kl",
    "entropy": "entropy",
    "clip_fraction": "clip_ratio/region_mean",
    "grad_norm": "grad_norm",
}
"""Our measure → what TRL calls it."""


@dataclass(slots=True)
class TrlTrainer:
    """One run's training by TRL, from wherever its progress stands to its end; the same parts as `loop.Trainer`."""

    plan: Plan
    weights: TrlWeights
    training: Source
    """Judges samples of train rows."""
    chat: Callable[[Example], Sequence[Message]]
    """The prompt that an example asks."""
    readings: Readings
    progress: Progress
    ledger: Ledger
    device: DeviceTime
    diary: Diary
    folder: Path
    """For TRL's checkpoints."""
    seed: int
    _trainer: Any = None
    _loop: asyncio.AbstractEventLoop | None = None
    _reservation: Reservation | None = None
    _groups: list[Group] = field(default_factory=list)
    """Of the step under way, with their rewards."""
    _started: float = 0.0
    _judging: float = 0.0
    """Seconds of the step in which TRL waited for judges."""

    async def run(self) -> str:
        """Train until the steps are done (`steps`), validation no longer improves (`patience`), or there is nothing to
        learn from (`no spread`).

        Raises BudgetSpent and Interrupted, and whatever else stops the run; it goes on from TRL's last checkpoint then.
        """
        self._loop = asyncio.get_running_loop()
        self._trainer = await asyncio.to_thread(self._open)
        if not self.progress.has_read(0):
            await self._validate()
        known = last_checkpoint(self.folder)
        try:
            if not self._over:
                await asyncio.to_thread(self._trainer.train, resume_from_checkpoint=str(known) if known else None)
        finally:
            if self._reservation is not None:
                self.ledger.cancel(self._reservation)
        return self._over or "steps"

    @property
    def _over(self) -> str | None:
        """Why training is over, as `run` says it; None: it is not."""
        return "patience" if self.progress.idle >= self.plan.tuning.patience else self.progress.over(self.plan.tuning)

    def _open(self) -> Any:
        from datasets import Dataset
        from trl import GRPOTrainer

        rows = [
            {"prompt": [{"role": said.role, "content": said.content} for said in self.chat(ask.example)]}
            for step in range(self.plan.tuning.steps)
            for ask in self.plan.train(step)
        ]
        trainer = GRPOTrainer(
            model=self.weights.model,
            reward_funcs=self._rewards,
            args=grpo_config(self.plan, self.folder, self.seed, self.weights.model),
            train_dataset=Dataset.from_list(rows),
            processing_class=self.weights.tokenizer.inner,
            callbacks=[_Watch(self)],
            peft_config=_lora(self.plan.tuning),
        )
        trainer.remove_callback(PrinterCallback)
        logging.getLogger("trl.trainer.grpo_trainer").setLevel(logging.ERROR)  # it prints whatever has no reward
        return trainer

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """From TRL's thread: let our loop do it, and wait."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin_step(self) -> None:
        self._started, self._judging = time.monotonic(), 0.0
        self._wait(self._reserve())

    async def _reserve(self) -> None:
        """Raises Interrupted and BudgetSpent, which end TRL's loop."""
        self.training.look()
        asks, count = self.plan.train(self.progress.step), self.plan.tuning.group
        most = sum(count * (len(ask.prompt_ids) + ask.sampling.max_tokens) for ask in asks)
        self._reservation = await self.ledger.reserve("task", Charge(count * len(asks), most))

    def _rewards(self, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        """TRL's reward function: None is no reward, in no mean and no deviation of its group (invariant 4)."""
        started = time.monotonic()
        self._groups = self._wait(self._judged(completion_ids, started - self._started))
        self._judging = time.monotonic() - started
        return [reward.value for group in self._groups for reward in group.rewards]

    async def _judged(self, completion_ids: Sequence[Sequence[int]], seconds: float) -> list[Group]:
        asks, count = self.plan.train(self.progress.step), self.plan.tuning.group
        draws = [
            Draw(ask, tuple(self._samples(completion_ids[place * count : (place + 1) * count])), seconds / len(asks))
            for place, ask in enumerate(asks)
        ]
        reservation, self._reservation = self._reservation, None
        assert reservation is not None
        self.ledger.settle(reservation, sum((draw.usage for draw in draws), Usage()))
        groups = await asyncio.gather(*map(self._rewarded, draws))
        check_failures(groups, self.plan.max_error_share)
        check_rankings(groups, self.plan.max_error_share, self.progress)
        return groups

    async def _rewarded(self, draw: Draw) -> Group:
        rewards = await asyncio.gather(*(self.training.judge(draw.ask, sample) for sample in draw.samples))
        return await self.training.rewarded(draw, rewards)

    def _samples(self, completions: Sequence[Sequence[int]]) -> Sequence[Sample]:
        """Without log-probabilities, which TRL keeps to itself."""
        ends, version = self.weights.eos_ids, self.progress.step
        return [
            Sample(index, tuple(ids), (), "stop" if ids[-1] in ends else "length", version)
            for index, ids in enumerate(completions)
        ]

    def end_step(self, logs: Mapping[str, float]) -> bool:
        """Write a step down, and read validation where it is due; returns whether training is to stop."""
        counted = _counted(self._groups)
        self.progress.end_step(learned=counted.groups > 0)
        whole = time.monotonic() - self._started
        self.device.add(whole - self._judging)
        step, groups = self.progress.step, self._groups
        sampling = sum(group.draw.seconds for group in groups)
        seconds = Seconds(sampling + self._judging, whole - sampling - self._judging, whole)
        row = measured(step, groups, counted, None, 0, seconds)
        said: dict[str, Any] = {ours: logs.get(theirs) for ours, theirs in _LOGGED.items()}
        self._wait(self._write(replace(row, **said), groups))
        return self._over is not None

    async def _write(self, row: TuningStep, groups: Sequence[Group]) -> None:
        if row.step == 1:
            await self.diary.base(groups)
        await self.diary.step(row, sample_rows(row.step, groups, self.training.text))
        if row.step % self.plan.tuning.validate_every == 0 or self.progress.over(self.plan.tuning):
            await self._validate()

    async def _validate(self) -> None:
        self.weights.policy_version = self.progress.step
        await self.readings.read(lambda path: self._trainer.model.save_pretrained(path, save_embedding_layers=False))

    def saved(self, folder: Path) -> None:
        """TRL has written a checkpoint; it counts once our progress is in it."""
        self.progress.note_spending(self.ledger, self.device)
        partial = folder / f".{_PROGRESS}"
        partial.write_text(json.dumps(self.progress.to_json()), encoding="utf-8")
        partial.replace(folder / _PROGRESS)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Tells a TrlTrainer what TRL's loop is at. What it raises ends that loop."""

    def __init__(self, told: TrlTrainer) -> None:
        self._told = told

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._told.begin_step()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        if "loss" in logs:  # the last log sums the whole run up
            control.should_training_stop |= self._told.end_step(logs)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._told.saved(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole one."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{_PROGRESS}")]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def last_progress(folder: Path) -> Progress | None:
    """Where the run stood at its newest checkpoint; None where there is none."""
    known = last_checkpoint(folder)
    return None if known is None else Progress.from_json(json.loads((known / _PROGRESS).read_text(encoding="utf-8")))


def grpo_config(plan: Plan, folder: Path, seed: int, model: Any) -> Any:
    """Our settings as TRL's: a step is one update on fresh samples, whose groups go through the model one by one."""
    from trl import GRPOConfig

    tuning, adam, loss = plan.tuning, Adam(learning_rate=plan.tuning.learning_rate), plan.loss
    low, high = loss.bounds
    clips = {"epsilon": 1 - low, "epsilon_high": high - 1} if loss.name in CLIPS else {}
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=tuning.steps,
        per_device_train_batch_size=tuning.group,
        gradient_accumulation_steps=tuning.groups,
        num_generations=tuning.group,
        max_completion_length=plan.max_tokens,
        shuffle_dataset=False,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        scale_rewards=_SCALES[tuning.advantage],
        beta=tuning.kl_coef,
        **_LOSSES[loss.name],
        **clips,
        **({"epsilon_high": loss.cap} if loss.name == "cispo" else {}),
        learning_rate=adam.learning_rate,
        lr_scheduler_type=tuning.schedule,
        adam_beta1=adam.beta1,
        adam_beta2=adam.beta2,
        adam_epsilon=adam.eps,
        weight_decay=adam.weight_decay,
        max_grad_norm=adam.clip_norm,
        logging_steps=1,
        save_steps=tuning.checkpoint_every,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        use_cpu=model.device.type == "cpu",
        bf16=model.dtype == torch.bfloat16,
        seed=seed,
    )


def _lora(tuning: TuningConfig) -> Any:
    from peft import LoraConfig

    rank, alpha = tuning.lora.rank, tuning.lora.alpha
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")


def _counted(groups: Sequence[Group]) -> Credited:
    """What TRL learns from: it leaves no group out, but one without spread has no advantage."""
    known = [[reward.value for reward in group.rewards if reward.value is not None] for group in groups]
    spread = sum(len(values) > 1 and max(values) - min(values) > SPREAD for values in known)
    rewarded = sum(map(len, known))
    missing = sum(len(group.rewards) for group in groups) - rewarded
    return Credited((), spread, len(groups) - spread, rewarded, missing)
