"""A job whose answers are known: what colour has the sky? For the toy policy, and for any other that learns words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptlearn.config import SearchConfig, TuningConfig
from promptlearn.dataset import load_dataset
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import Judge, LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.base import Model, Sampling
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Prompt
from promptlearn.store import Store

COLOURS = {"sky": "blue", "grass": "green", "rose": "red", "sea": "blue", "leaf": "green", "blood": "red"}
LABELS = ("red", "blue", "green")


def rows(times: int = 3) -> list[dict[str, str]]:
    """Each thing `times` times, told apart by its group; every split has them all."""
    splits = ("train", "validation", "test")
    return [
        {"thing": f"{'the ' * number}{thing}".replace("the", "sky"), "colour": colour, "split": splits[number % 3]}
        for number in range(times)
        for thing, colour in COLOURS.items()
    ]


def colour_job(store: Store, judges: Sequence[Judge] = (), judge: Model | None = None, **more: Any) -> Job:
    """A job that the toy policy can learn; `more` are fields of Job."""
    dataset = load_dataset(rows(), inputs=["thing"], expected="colour", split={"column": "split"})
    fields: dict[str, Any] = {
        "prompt": Prompt.of("Name the colour."),
        "file": None,
        "dataset": dataset,
        "task": ScriptedModel(["never asked"], sampling=Sampling(max_tokens=2)),
        "judges": tuple(JudgeSpec(one) for one in judges or [LabelSet(LABELS)]),
        "judge": judge,
        "store": store,
        "search": SearchConfig(seed=3),
        "budget": Budget(),
    }
    return Job(**fields | more)


def colour_tuning(**more: Any) -> TuningConfig:
    settings: dict[str, Any] = {
        "steps": 8,
        "groups": 3,
        "group": 6,
        "learning_rate": 3.0,
        "validate_every": 2,
        "patience": 9,
        "checkpoint_every": 3,
    }
    return TuningConfig(**settings | more)
