"""A job whose answers are known: what colour has the sky? For the toy policy, and for any other that learns words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from promptlearn.config import SearchConfig, TuningConfig
from promptlearn.dataset import load_dataset
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import Judge, LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.base import Model, Sampling
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Message, Prompt
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


def answers_shown(messages: Sequence[Message]) -> dict[str, str]:
    """Name → answer in a call that ranks, with `input` and `expected` among them."""
    fenced = r"<<<DATA (\w+) (\w+)>>>\n(.*?)\n<<<END \1 \2>>>"
    return {name: text for name, _, text in re.findall(fenced, messages[-1].content, re.DOTALL)}


def right_first(messages: Sequence[Message]) -> str:
    """A ranking with the right colour before all others, and the others equal."""
    shown = answers_shown(messages)
    names = sorted(shown.keys() - {"input", "expected"})
    tiers = [[name for name in names if (shown[name] == shown["expected"]) == right] for right in (True, False)]
    notes = "\n".join(f"{name}: it says {shown[name] or 'nothing'}" for name in names)
    return json.dumps({"notes": notes, "ranking": " > ".join(" = ".join(tier) for tier in tiers if tier)})


def ranker(**more: Any) -> ScriptedModel:
    """Ranks by who says the right colour."""
    return ScriptedModel(right_first, identity="scripted/right-first", **more)


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
