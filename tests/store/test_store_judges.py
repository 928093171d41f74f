"""Examinations of judges and people's labels in the store, and how the report reads them."""

from pathlib import Path

from promptlearn.records import Example, Rollout
from promptlearn.report import examination_history, examinations, human_labels
from promptlearn.store import open_store
from promptlearn.store.judge_rows import HumanLabel, JudgeCheck


def label(word: str, output: str = "Fine.", judge: str = "tone") -> HumanLabel:
    return HumanLabel(Example("e", {"q": "?"}), Rollout("human", "e", output), word, "because", "kim", judge)


async def test_the_newest_examination_of_each_kind_is_reported(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        await store.judges.keep(JudgeCheck("noise", "tone", "tone@1 m", {"flip_rate": 0.5}))
        await store.judges.keep(JudgeCheck("canary", "format", "format@1 m", {"holds": True}))
        second = await store.judges.keep(JudgeCheck("noise", "tone", "tone@2 m", {"flip_rate": 0.25}))
        assert second.id
        assert second.at
    with open_store(tmp_path / "store.db", create=False) as store:
        by_name = {found.judge: found for found in examinations(store)}
        assert [*by_name] == ["format", "tone"]
        assert by_name["tone"].source == "tone@2 m"
        assert by_name["tone"].noise == second
        assert by_name["tone"].agreement is None
        assert by_name["format"].canary is not None
        assert [check.body["flip_rate"] for check in examination_history(store, "tone", "noise")] == [0.25, 0.5]
        assert [check.kind for check in examination_history(store, "format")] == ["canary"]


async def test_the_latest_word_on_an_output_counts(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        await store.judges.label([label("fitting"), label("unfitting", output="Other."), label("pass", judge="")])
        await store.judges.label([label("unfitting")])
        assert [one.label for one in human_labels(store, "tone")] == ["unfitting", "unfitting"]
        assert sorted(one.label for one in human_labels(store, "tone", whole=True)) == [
            "pass",
            "unfitting",
            "unfitting",
        ]
        assert human_labels(store, "format") == []
        assert [one.label for one in human_labels(store, "format", whole=True)] == ["pass"]
        assert all(one.at for one in human_labels(store))
