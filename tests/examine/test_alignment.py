"""A judge's prompt taken out of its file, and put back as a file that says the same."""

from pathlib import Path

import pytest

from promptlearn.assets import asset_names
from promptlearn.examine.alignment import aligned, judge_prompt, write_judge
from promptlearn.judging import LLMJudge, LLMOptions, load_judge_file
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Rollout

EXAMPLE = Example("e", {"message": "Where is my parcel?"}, "At the depot.")
ROLLOUT = Rollout("p", "e", "It is at the depot.")
MODEL = ScriptedModel("never asked", identity="test/alignment")


def says(judge: LLMJudge) -> tuple[list[str], str]:
    """Paragraphs of the system message in any order, and the user message but for its version's nonce."""
    system, user = judge.messages(EXAMPLE, ROLLOUT)
    lines = [line for line in user.content.splitlines() if not line.startswith("<<<")]
    return sorted(system.content.split("\n\n")), "\n".join(lines)


@pytest.mark.parametrize("name", asset_names("judges"))
def test_every_shipped_judge_says_the_same_after_its_prompt_was_taken_out_and_put_back(
    name: str, tmp_path: Path
) -> None:
    judge = LLMJudge(load_judge_file(name), MODEL)
    file = aligned(judge, judge_prompt(judge))
    assert file.version == judge.file.version + 1
    write_judge(file, tmp_path / "mine.yaml")
    written = load_judge_file("mine.yaml", tmp_path)
    assert written == file
    assert says(LLMJudge(written, MODEL)) == says(judge)


def test_a_checklist_of_the_configuration_stands_in_the_new_file() -> None:
    judge = LLMJudge(load_judge_file("checklist"), MODEL, LLMOptions(checklist={"priced": "It names the price."}))
    assert says(LLMJudge(aligned(judge, judge_prompt(judge)), MODEL)) == says(judge)
