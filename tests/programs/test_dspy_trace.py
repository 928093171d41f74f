"""What a run of a DSPy program leaves behind: kept as JSON, and the same for a metric in every process."""

import datetime
import enum
from dataclasses import dataclass, replace
from typing import Any

import dspy
import pydantic
from dspy_desk import TwoSteps, scripted

from promptlearn.models.scripted import ScriptedModel
from promptlearn.programs.dspy_module import DspyProgram
from promptlearn.programs.dspy_trace import plain
from promptlearn.records import Example, Rollout, Rule
from promptlearn.store.codec import decode, encode

PARCEL = Example("1", {"message": "my parcel is late"}, "shipping")


class Urgency(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Ticket(pydantic.BaseModel):
    topic: str
    due: datetime.date


@dataclass
class Note:
    words: list[str]


class Triage(dspy.Module):  # type: ignore[misc]
    """Values that are more than JSON: typed ones, and one that no signature knows."""

    def __init__(self) -> None:
        self.read = dspy.Predict(
            dspy.Signature(
                "message: str -> ticket: Ticket, urgency: Urgency", custom_types={"Ticket": Ticket, "Urgency": Urgency}
            )
        )

    def forward(self, message: str) -> Any:
        read = self.read(message=message)
        return dspy.Prediction(ticket=read.ticket, urgency=read.urgency, note=Note(["late"]), clock=complex(1, 2))


def triage_reply(messages: Any) -> str:
    said = '[[ ## ticket ## ]]\n{"topic": "parcel", "due": "2026-01-31"}\n\n[[ ## urgency ## ]]\nhigh\n\n'
    return said + "[[ ## completed ## ]]"


async def run(source: DspyProgram) -> Rollout:
    prompt = replace(source.prompt(), rules=(Rule("A parcel is shipping."),))
    return await source.open(source.model).run(prompt, PARCEL)


async def test_a_trace_outlives_the_process() -> None:
    """Invariant 3: what a metric is given is made of the rollout alone."""
    source = DspyProgram(TwoSteps(), scripted())
    rollout = await run(source)
    assert rollout.evidence["steps"] == [
        {"predictor": "find", "inputs": {"message": "my parcel is late"}, "outputs": {"topic": "parcel"}},
        {"predictor": "label", "inputs": {"topic": "parcel"}, "outputs": {"tag": "shipping"}},
    ]
    other = DspyProgram(TwoSteps(), scripted())
    for program, kept in ((source, rollout), (other, rollout), (other, decode(Rollout, encode(rollout)))):
        passed = program.passed(kept)
        assert passed.prediction.tag == "shipping"
        assert list(passed.names) == ["find", "label"]
        assert [step[0] for step in passed.trace] == [program.module.find, program.module.label]
        assert [dict(step[1]) for step in passed.trace] == [{"message": "my parcel is late"}, {"topic": "parcel"}]
        assert [step[2].toDict() for step in passed.trace] == [{"topic": "parcel"}, {"tag": "shipping"}]


async def test_values_come_back_as_their_signature_says() -> None:
    source = DspyProgram(Triage(), ScriptedModel(triage_reply, identity="triage"), answer="urgency")
    rollout = await run(source)
    assert rollout.output == "high"
    passed = DspyProgram(Triage(), None).passed(decode(Rollout, encode(rollout)))
    ticket = Ticket(topic="parcel", due=datetime.date(2026, 1, 31))
    for prediction in (passed.prediction, passed.trace[0][2]):
        assert (prediction.ticket, prediction.urgency) == (ticket, Urgency.HIGH)
    assert passed.prediction.note == {"words": ["late"]}  # no signature knows its type
    assert passed.prediction.clock == "1+2j"


async def test_a_predictor_that_is_made_on_the_way_has_no_name() -> None:
    class AdHoc(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.label = dspy.Predict("topic -> tag")

        def forward(self, message: str) -> Any:
            return self.label(topic=dspy.Predict("message -> topic")(message=message).topic)

    source = DspyProgram(AdHoc(), scripted())
    rollout = await run(source)
    assert [turn.content.partition(":")[0] for turn in rollout.turns] == ["predictor", "label"]
    passed = source.passed(rollout)
    assert list(passed.names) == ["", "label"]
    assert list(passed.trace[0][0].signature.input_fields) == ["message"]


def test_a_rollout_from_before_has_an_output_and_no_trace() -> None:
    old = Rollout("p", "1", "shipping", evidence={"fields": {"tag": "shipping"}})
    passed = DspyProgram(TwoSteps(), None).passed(old)
    assert (passed.prediction.tag, list(passed.trace)) == ("shipping", [])


def test_anything_has_a_form_in_json() -> None:
    assert plain({"a": (1, None), 2: {"x", "b"}}) == {"a": [1, None], "2": ["b", "x"]}
    assert plain([Note(["x"]), Urgency.LOW, datetime.date(2026, 1, 31)]) == [{"words": ["x"]}, "low", "2026-01-31"]
    assert plain([dspy.Prediction(note=Note(["x"]))]) == [{"note": {"words": ["x"]}}]
    assert plain("\ud83d half an emoji") == "\ud83d half an emoji"  # invariant 12
    assert plain(print).startswith("<built-in")
