"""The training loop: sample, judge, credit, learn, publish; validate and save in between. The page to read first.

One step is one batch of groups and one optimizer step. With `max_staleness` k the batch of step s was drawn by the
policy of step s - k, always and exactly, so that no clock decides anything (invariant 8); 0 is on-policy. Knows
protocols alone: where weights live, what judges are and where steps are kept is for others to say.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from promptlearn.config import TuningConfig
from promptlearn.errors import PromptlearnError
from promptlearn.ledger import Ledger
from promptlearn.store.tuning_rows import TuningSample, TuningStep, TuningValidation
from promptlearn.tuning.advantages import Credited, credit
from promptlearn.tuning.base import Adam, Backend, Loss, LossName, StepReport, TrainSample
from promptlearn.tuning.checkpoint import Checkpoints
from promptlearn.tuning.device import DeviceTime
from promptlearn.tuning.failures import check_failures, check_rankings
from promptlearn.tuning.measures import Seconds, kl_to_base, measured, sample_rows
from promptlearn.tuning.progress import Drawn, Progress
from promptlearn.tuning.rejection import keep_passed
from promptlearn.tuning.stream import Ask, Draw, Group, Source, Stream
from promptlearn.tuning.validation import Readings


class Diary(Protocol):
    """Where a run's steps are kept, and who watches."""

    async def base(self, groups: Sequence[Group]) -> None:
        """What the untrained policy earned on the first groups."""

    async def step(self, step: TuningStep, samples: Sequence[TuningSample]) -> None: ...

    async def validation(self, validation: TuningValidation) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be trained on, and how."""

    tuning: TuningConfig
    train: Callable[[int], Sequence[Ask]]
    """What batch `number` asks."""
    validation: Sequence[Ask]
    max_tokens: int
    max_error_share: float

    def learning_rate(self, step: int) -> float:
        """Of step 0, 1, …, by the schedule."""
        left = 1 - step / self.tuning.steps if self.tuning.schedule == "linear" else 1.0
        return self.tuning.learning_rate * left

    @property
    def loss(self) -> Loss:
        name: LossName = "cross_entropy" if self.tuning.method == "rejection_sft" else self.tuning.loss
        tuning = self.tuning
        return Loss(name, tuning.clip_low, tuning.clip_high, kl_coef=tuning.kl_coef, max_tokens=self.max_tokens)


@dataclass(slots=True)
class Trainer:
    """One run's training, from wherever its progress stands to its end."""

    plan: Plan
    backend: Backend
    training: Source
    """Draws from train rows."""
    readings: Readings
    """Of validation rows (invariant 5)."""
    checkpoints: Checkpoints
    progress: Progress
    ledger: Ledger
    device: DeviceTime
    diary: Diary
    folder: Path
    """For the adapters that are published."""
    _mid_step: bool = False
    """A step's samples are taken and it has not ended: no moment for a checkpoint."""

    async def run(self) -> str:
        """Train until the steps are done (`steps`), validation no longer improves (`patience`), or there is nothing to
        learn from (`no spread`).

        Raises BudgetSpent and Interrupted, and whatever else stops the run; steps that ended are in a checkpoint then.
        """
        progress, tuning = self.progress, self.plan.tuning
        if self.backend.learner.version:
            await self._publish()
        async with Stream(
            self.training,
            self.plan.train,
            group=tuning.group,
            queue=tuning.queue,
            first=progress.step,
            known=self._drawn_before(),
        ) as stream:
            saved = progress.step if progress.readings else None
            try:
                while True:
                    if self._due(tuning.validate_every) and not progress.has_read(progress.step):
                        await self.readings.read(self.backend.learner.save_adapter, self.backend.learner.version)
                    if self._due(tuning.checkpoint_every) and saved != progress.step:
                        saved = await self._save(stream)
                    if progress.idle >= tuning.patience:
                        return "patience"
                    if (why := progress.over(tuning)) is not None:
                        return why
                    self.training.look()
                    await self._step(stream)
            except PromptlearnError:
                if saved != progress.step and not self._mid_step:  # else the last checkpoint replays what came since
                    await self._save(stream)
                raise

    def _due(self, every: int) -> bool:
        """At the beginning, every so many steps, and at the end."""
        return self.progress.step % every == 0 or self.progress.over(self.plan.tuning) is not None

    async def _step(self, stream: Stream) -> None:
        started, step = time.monotonic(), self.progress.step
        ahead = min(step + self.plan.tuning.max_staleness, self.plan.tuning.steps - 1)
        stream.allow(ahead)
        groups = await stream.judged(step)
        self._mid_step = True
        wait = time.monotonic() - started
        check_failures(groups, self.plan.max_error_share)
        check_rankings(groups, self.plan.max_error_share, self.progress)
        if step == 0:
            await self.diary.base(groups)
        credited = self._credited(step, groups)
        staleness = self._staleness(groups)
        learning = time.monotonic()
        with self.device.at_work():
            report = await asyncio.to_thread(self._learn, credited)
        train = time.monotonic() - learning
        if ahead > step:
            await stream.drawn(ahead)  # nobody draws while the policy changes
        if report is not None:
            train += await self._publish()
        self.progress.end_step(learned=report is not None)
        self._mid_step = False
        seconds = Seconds(wait, train, time.monotonic() - started)
        row = measured(step + 1, groups, credited, report, staleness, seconds)
        await self.diary.step(row, sample_rows(step + 1, groups, self.training.text))

    def _credited(self, step: int, groups: Sequence[Group]) -> Credited:
        """What there is to learn from, by the run's method."""
        rows = self._rows(step, groups)
        if self.plan.tuning.method == "rejection_sft":
            return keep_passed(rows, [reward.passed for group in groups for reward in group.rewards])
        return credit(rows, self.plan.tuning.advantage)

    def _rows(self, step: int, groups: Sequence[Group]) -> list[TrainSample]:
        """A step's samples in the hand-over format; a group is a place in the step, so that one prompt stays one."""
        model, tokenizer = self.backend.learner.model_hash, self.backend.tokenizer.hash
        return [
            TrainSample.of(
                group.draw.ask.prompt_ids,
                sample,
                task_key=group.draw.ask.example.id,
                group=f"{step}/{place}",
                reward=reward.value,
                reward_parts=reward.parts,
                feedback=reward.feedback,
                model_hash=model,
                tokenizer_hash=tokenizer,
            )
            for place, group in enumerate(groups)
            for sample, reward in zip(group.draw.samples, group.rewards, strict=True)
        ]

    def _learn(self, credited: Credited) -> StepReport | None:
        """One optimizer step, in a thread of its own; None where no group has anything to say."""
        if not credited.samples:
            return None
        loss = replace(self.plan.loss, sequences=credited.rewarded)
        report = self.backend.learner.forward_backward(credited.samples, loss)
        if report.kl is None and self._measures_kl():
            report = replace(report, kl=self._kl(credited.samples))
        self.backend.learner.optim_step(Adam(learning_rate=self.plan.learning_rate(self.progress.step)))
        return report

    def _measures_kl(self) -> bool:
        """Before each reading of validation: a forward pass for a figure that no loss asks for is not free."""
        done = self.progress.step + 1
        return done % self.plan.tuning.validate_every == 0 or done == self.plan.tuning.steps

    def _kl(self, samples: Sequence[TrainSample]) -> float:
        """Of the policy that drew them to the base model, by their first group."""
        group = [sample for sample in samples if sample.group == samples[0].group]
        return kl_to_base(group, self.backend.learner.logprobs(group, base=True))

    async def _publish(self) -> float:
        """Let the sampler have what was learned; returns the seconds that it took."""
        started, version = time.monotonic(), self.backend.learner.version
        with self.device.at_work():
            adapter = await asyncio.to_thread(self.backend.learner.save_adapter, self.folder / f"policy-{version:06}")
            await self.backend.sampler.publish(adapter)
        for older in self.folder.glob("policy-*"):
            if older != adapter.path:
                shutil.rmtree(older, ignore_errors=True)
        return time.monotonic() - started

    async def _save(self, stream: Stream) -> int:
        self.progress.ahead = [
            [Drawn(group.draw.samples, group.draw.seconds, group.rewards) for group in batch]
            for batch in await stream.ahead()
        ]
        self.progress.note_spending(self.ledger, self.device)
        await asyncio.to_thread(self.checkpoints.save, self.backend.learner, self.progress)
        return self.progress.step

    def _drawn_before(self) -> list[list[Group]]:
        """Batches that an earlier stretch drew ahead of their steps."""
        return [
            [
                Group(Draw(ask, drawn.samples, drawn.seconds), drawn.rewards)
                for ask, drawn in zip(self.plan.train(number), batch, strict=True)
            ]
            for number, batch in enumerate(self.progress.ahead, start=self.progress.step)
        ]

    def _staleness(self, groups: Sequence[Group]) -> int:
        versions = [sample.policy_version for group in groups for sample in group.draw.samples]
        return self.backend.learner.version - min(versions)
