"""A DSPy program as what runs a prompt: with real DSPy, and a scripted model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy_desk import TwoSteps, language_model, scripted, tagger

from promptlearn.errors import ConfigError, ModelError, PromptError, SystemicError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.programs.dspy_module import DspyProgram, open_dspy
from promptlearn.records import Demonstration, Example, Failure, Prompt, Rollout, Rule

PARCEL = Example("1", {"message": "my parcel is late"}, "shipping")


async def run(source: DspyProgram, prompt: Prompt, example: Example = PARCEL) -> Rollout:
    return await source.open(source.model).run(prompt, example)


async def test_instructions_are_the_learned_text() -> None:
    source = DspyProgram(tagger(), scripted())
    rollout = await run(source, source.prompt())
    assert rollout.output == "I am not sure."
    assert rollout.evidence["fields"] == {"tag": "I am not sure."}
    assert rollout.turns[0].content == 'self: {"tag": "I am not sure."}'
    taught = await run(source, source.prompt().with_text("A parcel is shipping."))
    assert taught.output == "shipping"
    assert taught.usage.calls == 1


async def test_rules_and_demonstrations_reach_the_predictor() -> None:
    source = DspyProgram(tagger(), scripted())
    with_rule = replace(source.prompt(), rules=(Rule("A parcel is shipping."),))
    assert (await run(source, with_rule)).output == "shipping"
    demo = Demonstration({"message": "the parcel is odd"}, "shipping")
    with_demo = replace(source.prompt(), demonstrations=(demo,))
    assert (await run(source, with_demo)).output == "shipping"
    learned = source.with_prompt(with_demo)
    assert [dict(one.items()) for one in learned.demos] == [{"message": "the parcel is odd", "tag": "shipping"}]
    assert source.module.demos == []


async def test_every_predictor_has_a_section_that_the_contract_locks() -> None:
    source = DspyProgram(TwoSteps(), scripted())
    prompt = source.prompt()
    assert prompt.text.startswith("# predictor: find\nName the topic.\n\n# predictor: label\n")
    assert prompt.contract.locked == ("# predictor: find", "# predictor: label")
    rollout = await run(source, replace(prompt, rules=(Rule("A parcel is shipping."),)))
    assert rollout.output == "shipping"
    assert [turn.content for turn in rollout.turns] == ['find: {"topic": "parcel"}', 'label: {"tag": "shipping"}']
    learned = source.with_prompt(replace(prompt, rules=(Rule("A parcel is shipping."),)))
    assert learned.find.signature.instructions == "Name the topic."
    assert learned.label.signature.instructions.endswith("Rules:\n- A parcel is shipping.")


async def test_a_prompt_without_a_heading_is_no_prompt_of_the_program() -> None:
    source = DspyProgram(TwoSteps(), scripted())
    lost = source.prompt().with_text("# predictor: find\nName the topic.")
    rollout = await run(source, lost)
    assert rollout.error is not None
    assert "0 headings `# predictor: label`" in rollout.error.message
    with pytest.raises(PromptError, match="headings"):
        source.bind(Prompt.of("Tag it."))


async def test_an_unreadable_reply_is_an_output() -> None:
    source = DspyProgram(tagger(), ScriptedModel(lambda messages: "no markers here", identity="mumble"))
    rollout = await run(source, source.prompt())
    assert rollout.error is None
    assert rollout.output == "no markers here"
    assert "failed to parse" in str(rollout.evidence["unreadable"])


async def test_what_a_model_raises_keeps_its_kind() -> None:
    def fail(error: ModelError) -> ScriptedModel:
        return ScriptedModel(lambda messages: error, identity=f"fails/{error.kind}")

    source = DspyProgram(tagger(), fail(ModelError("rate_limit", "slow down")))
    rollout = await run(source, source.prompt())
    assert rollout.error == Failure("rate_limit", "slow down")
    source = DspyProgram(tagger(), fail(SystemicError("auth", "wrong key")))
    with pytest.raises(SystemicError, match="wrong key"):
        await run(source, source.prompt())


async def test_what_the_program_raises_is_a_failure_and_no_score() -> None:
    class Broken(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.label = dspy.Predict("message -> tag")

        def forward(self, message: str) -> Any:
            raise KeyError("nothing here")

    source = DspyProgram(Broken(), scripted())
    rollout = await run(source, source.prompt())
    assert rollout.error is not None
    assert rollout.error.kind == "program"
    assert "KeyError" in rollout.error.message


def test_what_can_not_be_learned_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no dspy\.Module"):
        DspyProgram("a text", scripted())
    own = tagger()
    own.lm = language_model()
    with pytest.raises(ConfigError, match="an LM of its own"):
        DspyProgram(own, scripted())


async def test_a_program_from_a_file(tmp_path: Path) -> None:
    taught = 'dspy.Signature("message -> tag", "A parcel is shipping.")'
    code = f"import dspy\n\ndef make():\n    return dspy.Predict({taught})\n"
    (tmp_path / "desk.py").write_text(code)
    source = open_dspy("desk.py:make", scripted(), tmp_path)
    assert (await run(source, source.prompt())).output == "shipping"
    (tmp_path / "desk.py").write_text(code + "# changed\n")
    assert open_dspy("desk.py:make", scripted(), tmp_path).identity != source.identity
    for use, words in (("desk.py", "is not `module:function`"), ("gone.py:make", "no file"), ("desk.py:x", "has no")):
        with pytest.raises(ConfigError, match=words):
            open_dspy(use, scripted(), tmp_path)
