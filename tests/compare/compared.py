"""Comparisons of scripted models: a lab over the synthetic task, with everything that an arm may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import synthetic

from promptlearn.compare import Lab
from promptlearn.config import CompareConfig, SearchConfig
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.base import Model
from promptlearn.records import Prompt
from promptlearn.store import Store

LABELS = tuple(synthetic.TAGS.values())


def dataset(count: int = 90) -> Dataset:
    return load_dataset(synthetic.rows(count), inputs=["message"], expected="tag")


def synthetic_lab(
    store: Store,
    arms: tuple[str, ...] = ("base", "prompt"),
    task: Callable[[], Model] = synthetic.task_model,
    data: Dataset | None = None,
    budget: Budget | None = None,
    **settings: Any,
) -> Lab:
    """Labs over one store are the same comparison, as two processes would have it."""
    rows = data or dataset()

    def job(seed: int) -> Job:
        return Job(
            prompt=Prompt.of(synthetic.SEED),
            file=None,
            dataset=rows,
            task=task(),
            judges=(JudgeSpec(LabelSet(LABELS)),),
            store=store,
            reviews=synthetic.house_rules(),
            search=SearchConfig(rounds=1, drafts=3, prune=False, seed=seed),
            budget=budget or Budget(),
        )

    return Lab(job, store, CompareConfig.model_validate({"arms": arms, "seeds": 2, **settings}))
