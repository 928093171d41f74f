"""Two prompts on the same rows."""

from pathlib import Path

import pytest

from promptlearn.errors import UsageError
from promptlearn.records import Candidate, Prompt, Rollout
from promptlearn.report import paired
from promptlearn.store import open_store


async def test_rows_are_paired_by_example_and_only_where_both_have_a_score(tmp_path: Path) -> None:
    old, new = Prompt.of("a"), Prompt.of("b")
    with open_store(tmp_path / "store.db") as store:
        run = await store.start_run({}, "digest", {}, seed=0)
        for number, prompt in enumerate((old, new)):
            await store.add_candidate(run, Candidate(prompt, (), "baseline"), number)
        scores = {"e1": (0.0, 1.0), "e2": (1.0, 1.0), "e3": (1.0, 0.0), "e4": (0.0, 1.0), "e5": (None, 1.0)}
        for example, both in scores.items():
            for prompt, score in zip((old, new), both, strict=True):
                await store.add_row(run, Rollout(prompt.digest, example), [], "test", score)
        await store.add_row(run, Rollout(new.digest, "e6"), [], "test", 1.0)
        found = paired(store, (run, 0), (run, 1))
        assert found is not None
        assert (found.n, found.better, found.worse, found.difference) == (4, 2, 1, 0.25)
        assert found.ci95.low < 0.25 < found.ci95.high
        assert paired(store, (run, 0), (run, 1), "train") is None
        with pytest.raises(UsageError, match="no prompt"):
            paired(store, (run, 7), (run, 1))
