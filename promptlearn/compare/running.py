"""Running a comparison: learn everything, then read the test split, then compute. The page to read first.

Arms and seeds come one after the other, so that the seconds of each are its own; trainings side by side where the
configuration says so. Given again after a kill, what has ended is taken from the store, and what was under way goes on
(invariant 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from promptlearn.compare.best_of import MOST, BestOf
from promptlearn.compare.comparison import Arm, Comparison
from promptlearn.compare.cost import equal_cost, mean_per_call
from promptlearn.compare.lab import Lab
from promptlearn.compare.learning import Learned, Learning, Observer
from promptlearn.compare.plan import Plan, reading_room
from promptlearn.compare.reading import Reading, Readings
from promptlearn.config import ArmName
from promptlearn.runlog import Event
from promptlearn.scheduler import Slots

SAMPLES = 8
"""Of `best_of_n`, where no other arm says what equal cost is."""


def nobody(name: str, event: Event) -> None:
    """The observer of a comparison that no one watches."""


async def compare(
    lab: Lab, observer: Observer = nobody, stopping: Callable[[], bool] = lambda: False, plan: Plan | None = None
) -> Comparison:
    """Compare the arms of a lab. `plan` is what `Plan.of` said of it. Raises PromptlearnError."""
    return await _Comparing(lab, observer, stopping, plan or Plan.of(lab)).run()


class _Comparing:
    def __init__(self, lab: Lab, observer: Observer, stopping: Callable[[], bool], plan: Plan) -> None:
        self._lab = lab
        self._plan = plan
        self._job = lab.job(lab.seed)
        slots = Slots(self._job.search.concurrency)
        self._learning = Learning(lab, observer, stopping, slots)
        self._readings = Readings(lab, observer, stopping, slots)

    async def run(self) -> Comparison:
        learned = await self._learning.learn(self._plan.arms, self._plan.seeds)
        arms: dict[ArmName, Arm] = {}
        for name in self._plan.arms:  # nothing is learned from here on
            if name != "best_of_n":
                arms[name] = Arm(name, tuple(learned[name]), tuple(await self._read(name, learned[name])))
        if "best_of_n" in learned:
            arms["best_of_n"] = await self._best_of(learned["best_of_n"], list(arms.values()))
        examples = [example.id for example in self._job.dataset.test]
        return Comparison.of(self._plan, [arms[name] for name in self._plan.arms], examples)

    async def _read(self, name: ArmName, learned: Sequence[Learned]) -> list[Reading]:
        return [
            await self._readings.read(one.subject, f"{name}, seed {seed}")
            for one, seed in zip(learned, self._plan.seeds, strict=True)
        ]

    async def _best_of(self, learned: Sequence[Learned], others: Sequence[Arm]) -> Arm:
        samples = await self._samples(learned[0], others)
        drawn = [
            replace(one, subject=replace(one.subject, how=BestOf(samples, self._lab.settings.temperature, number)))
            for number, one in enumerate(learned)
        ]
        return Arm("best_of_n", tuple(drawn), tuple(await self._read("best_of_n", drawn)), samples)

    async def _samples(self, base: Learned, others: Sequence[Arm]) -> int:
        """As many as cost what one call of the dearest other arm does, as far as the budget reaches."""
        if self._lab.settings.samples is not None:
            return self._lab.settings.samples
        room = reading_room(self._job)
        most = min(MOST, MOST if room is None else max(1, room))
        rivals = [arm for arm in others if arm.name != "base"]
        if not rivals:
            return min(most, SAMPLES)
        one = mean_per_call([(await self._readings.read(base.subject, "base")).per_call])
        return min(most, max(equal_cost(one, arm.per_call) for arm in rivals))
