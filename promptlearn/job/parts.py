"""Job: prompt, examples, models, judges, search and budget, and what follows from them. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promptlearn.config import JudgeConfig, ObjectiveConfig, ScoringConfig, SearchConfig
from promptlearn.config.search import usual_proposers
from promptlearn.dataset import Dataset, find_leaks
from promptlearn.judging import Judge, Member, Panel, When, judge_needs_model, load_judge_file, open_judge
from promptlearn.ledger import Budget
from promptlearn.limits import Limits
from promptlearn.models.base import Model
from promptlearn.programs import ProgramSource
from promptlearn.prompt import PromptFile
from promptlearn.proposing import MAY_ASK, open_proposer
from promptlearn.proposing.base import Proposer
from promptlearn.proposing.meta import MetaPrompt
from promptlearn.records import Guard, Json, Prompt, Review, Role, fingerprint
from promptlearn.reviews import usable
from promptlearn.selection.objectives import PROMPT_SIZE
from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge of the job: an object, or what the configuration says of one."""

    judge: Judge | JudgeConfig
    weight: float = 1.0
    veto: bool = False
    when: When = "always"
    gold: bool = False

    @classmethod
    def of(cls, config: JudgeConfig) -> JudgeSpec:
        """The judge of a configuration."""
        return cls(config, config.weight, config.veto, config.when, config.gold)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a run needs. `prompt` is bound to the dataset's columns."""

    prompt: Prompt
    file: PromptFile | None
    """Where the prompt came from, and so the form in which the learned one is written; None for one made in Python."""
    dataset: Dataset
    task: Model
    judges: tuple[JudgeSpec, ...]
    store: Store
    judge: Model | None = None
    meta: Model | None = None
    reviews: tuple[Review, ...] = ()
    proposers: tuple[Proposer | str, ...] = ()
    """Empty: all that can work."""
    meta_prompts: Mapping[str, str] = field(default_factory=dict)
    """Proposer → what it asks with (as `MetaPrompt.load` takes it), where that is not the meta-prompt of its name."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    objectives: tuple[ObjectiveConfig, ...] = ()
    """In their order, with quality among them; empty: quality alone."""
    search: SearchConfig = field(default_factory=SearchConfig)
    budget: Budget = field(default_factory=Budget)
    limits: Mapping[Role, Limits] = field(default_factory=dict)
    """How fast each role's model may be called, where that is not found out alone."""
    folder: Path = Path()
    """Where paths of the user's own Python judges start."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Keys that must reach no store, log or judge (invariant 10)."""
    described: Json = None
    """The configuration as it is stored with the run; without it, a description of the parts."""
    program: ProgramSource | None = None
    """What runs the prompt, asking `task`; None: one chat completion."""
    guards: tuple[Guard, ...] = ()
    """What earlier runs on this prompt learned from reviewers, beside what `reviews` ask for."""
    scope: str = ""
    """What the store calls the prompt, so that later runs find what this one learned; empty: they do not."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful person would want to know before the run; nothing here stops it."""
        found = list(self.dataset.warnings)
        if self.judge is not None and self.judge.identity == self.task.identity and self.llm_judges():
            found.append(f"the judge is the task model itself ({self.task.name}); a second model judges more fairly")
        leaks = find_leaks(self.dataset)
        if leaks:
            shown = "; ".join(str(leak) for leak in leaks[:3])
            found.append(f"{len(leaks)} (near-)duplicates stand in two splits, so scores may be too high: {shown}")
        described = self.described if isinstance(self.described, dict) else {}
        if isinstance(described.get("reviews"), dict) and not self.reviews:
            found.append(
                "no comment in the store is approved, so none is learned from: see `promptlearn feedback list`"
            )
        unused = [review.id for review in self.reviews if review not in usable(self.reviews)]
        if unused:
            found.append(f"{len(unused)} reviews are not approved or not by trusted authors, and not used")
        if any(one.name == "cost" for one in self.objectives) and self.task.price is None:
            found.append(f"cost is an objective, and nobody knows the price of {self.task.name}: it decides nothing")
        return (*found, *(self.program.warnings if self.program else ()))

    def digest(self) -> str:
        """What makes two runs the same: everything but budget, concurrency and where things are stored."""
        search = self.search.model_dump(mode="json", exclude={"concurrency"})
        models = {role: [model.identity, repr(model.sampling)] for role, model in self.models().items()}
        judges = [[_judge_digest(spec.judge), spec.weight, spec.veto, spec.when, spec.gold] for spec in self.judges]
        contract = self.prompt.contract
        kept = [list(contract.locked), contract.max_tokens, contract.output_schema]
        proposers = [name if isinstance(name, str) else name.name for name in self.proposer_names()]
        reviews = [[review.body, review.suggestion] for review in usable(self.reviews)]
        scoring = self.scoring.model_dump(mode="json", exclude={"criteria"})
        parts = [self.prompt.digest, kept, self.dataset.digest, models, judges, scoring, proposers, search, reviews]
        parts += [[guard.id, *guard.examples] for guard in self.guards]
        parts += [one.model_dump(mode="json") for one in self.objectives]
        parts += [[name, MetaPrompt.load(use).digest] for name, use in sorted(self.meta_prompts.items())]
        return fingerprint([*parts, *([self.program.identity] if self.program else [])])

    def models(self) -> dict[Role, Model]:
        found: dict[Role, Model | None] = {"task": self.task, "judge": self.judge, "meta": self.meta}
        return {role: model for role, model in found.items() if model is not None}

    def panel(self, model: Model | None) -> Panel:
        """The judges, opened; those that are language models ask `model`."""
        return Panel([_member(spec, self, model) for spec in self.judges], self.scoring.all_pass)

    def proposer_names(self) -> tuple[Proposer | str, ...]:
        if self.proposers:
            return self.proposers
        shorter = bool(self.objectives) and self.objectives[0].name in PROMPT_SIZE
        shows = self.program is None or self.program.takes_demonstrations
        return tuple(name for name in usual_proposers(self.meta is not None, shorter) if shows or name != "demos")

    def open_proposers(self, model: Model | None) -> list[Proposer]:
        """Those of the job, by names opened; they ask `model`. Raises ConfigError and AssetError."""
        return [
            open_proposer(one, model=model, meta_prompt=self.meta_prompts.get(one)) if isinstance(one, str) else one
            for one in self.proposer_names()
        ]

    def asks_meta(self) -> bool:
        """Whether a proposer may ask the meta model."""
        return self.meta is not None and any(name in MAY_ASK for name in self.proposer_names())

    def judged_again(self) -> int:
        """Judgements per judge that measuring its noise takes at most, beside those of the rows themselves."""
        scoring = self.scoring
        wavers = any(isinstance(spec.judge, JudgeConfig) and judge_needs_model(spec.judge.use) for spec in self.judges)
        return scoring.noise_rows * (scoring.noise_repeats - 1) if wavers else 0

    def llm_judges(self, on_every_row: bool = False) -> int:
        """How many judges are language models; `on_every_row` leaves out those that are not always asked."""
        return sum(
            isinstance(spec.judge, JudgeConfig)
            and judge_needs_model(spec.judge.use)
            and not (on_every_row and (spec.when != "always" or spec.gold))
            for spec in self.judges
        )


def _judge_digest(judge: Judge | JudgeConfig) -> Json:
    """What a judge is; for a judge file, what it says now."""
    if not isinstance(judge, JudgeConfig):
        return judge.name
    text = load_judge_file(judge.use).model_dump(mode="json") if judge_needs_model(judge.use) else None
    return [judge.model_dump(mode="json"), text]


def _member(spec: JudgeSpec, job: Job, model: Model | None) -> Member:
    judge = spec.judge
    if isinstance(judge, JudgeConfig):
        judge = open_judge(
            judge.use, judge.options, labels=job.dataset.labels, model=model, folder=job.folder, secrets=job.secrets
        )
    return Member(judge, spec.weight, spec.veto, when=spec.when, gold=spec.gold)
