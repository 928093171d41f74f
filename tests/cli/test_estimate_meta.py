"""Which calls of the meta model an estimate foresees: all that a proposer may make, and no more."""

from pathlib import Path
from typing import Any

import pytest
from shop import write_shop

from promptlearn.assembly import assemble
from promptlearn.config import load_config
from promptlearn.estimate import estimate_roles
from promptlearn.job import Job


def job(folder: Path, **changes: Any) -> Job:
    write_shop(folder, **changes)
    return assemble(load_config(folder / "promptlearn.yaml"), folder / "store.db")


@pytest.mark.parametrize(
    ("proposers", "low", "high"),
    [(["rewrite"], 1, 8), (["rules", "demos"], 0, 8), (["merge"], 0, 8), (["prune"], 0, 8)],
)
def test_every_proposer_that_may_ask_is_counted(tmp_path: Path, proposers: list[str], low: int, high: int) -> None:
    models = {"task": "scripted/model.yaml", "meta": "scripted/model.yaml"}
    made = job(tmp_path, models=models, search={"rounds": 1, "drafts": 4, "proposers": proposers})
    calls = estimate_roles(made)["meta"].calls
    assert (calls.low, calls.high) == (low, high)


def test_demonstrations_alone_ask_nobody(tmp_path: Path) -> None:
    models = {"task": "scripted/model.yaml", "meta": "scripted/model.yaml"}
    made = job(tmp_path, models=models, search={"rounds": 1, "drafts": 4, "proposers": ["demos"]})
    assert "meta" not in estimate_roles(made)


def test_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    assert not job(tmp_path, search={"rounds": 1, "proposers": ["rules", "demos"]}).asks_meta()
