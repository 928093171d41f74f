"""DSPy programs for the synthetic task (synthetic.py), and a language model of DSPy's that obeys what a prompt says.

The model reads DSPy's field markers: it ties a topic to a tag where instructions, rules or demonstrations do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dspy
from synthetic import SEED, TAGS, rows, topic_of

from promptlearn.models.base import Reply
from promptlearn.models.scripted import ScriptedModel
from promptlearn.programs.dspy_lm import messages_of, response_of
from promptlearn.records import Message

_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]\n(.*?)(?=\n\n\[\[|\Z)", re.DOTALL)


def field(text: str, name: str) -> str:
    return str(dict(_FIELD.findall(text)).get(name, ""))


def reply(messages: Sequence[Message]) -> str:
    """The tag where what is taught ties the topic to it, else an excuse; in DSPy's form."""
    topic = topic_of(field(messages[-1].content, "message") or field(messages[-1].content, "topic"))
    if "`topic`" in messages[0].content.split("Your output fields")[1].split("\n")[1]:
        return _said("topic", topic or "none")
    tag = "I am not sure."
    for line in messages[0].content.splitlines():
        if topic and topic in line and TAGS[topic] in line:
            tag = TAGS[topic]
    for before, after in pairwise(messages):
        if topic and before.role == "user" and after.role == "assistant" and topic in before.content:
            tag = field(after.content, "tag")
    return _said("tag", tag)


def _said(name: str, value: str) -> str:
    return f"[[ ## {name} ## ]]\n{value}\n\n[[ ## completed ## ]]"


class Engine:
    """The model as DSPy wants it."""

    def __init__(self) -> None:
        self.calls = 0

    def complete(self, request: Any) -> Any:
        self.calls += 1
        return response_of(Reply(reply(messages_of(request))), request.model)


def language_model() -> Any:
    return dspy.LM("scripted/desk", engine=Engine(), cache=False, num_retries=0)


def scripted() -> ScriptedModel:
    """The same behind one of our models."""
    return ScriptedModel(reply, name="desk", identity="desk/1")


def tagger() -> Any:
    return dspy.Predict(dspy.Signature("message -> tag", SEED))


class TwoSteps(dspy.Module):  # type: ignore[misc]
    """Finds the topic, then its tag."""

    def __init__(self) -> None:
        self.find = dspy.Predict(dspy.Signature("message -> topic", "Name the topic."))
        self.label = dspy.Predict(dspy.Signature("topic -> tag", SEED))

    def forward(self, message: str) -> Any:
        return self.label(topic=self.find(message=message).topic)


def examples(count: int) -> list[Any]:
    return [dspy.Example(message=row["message"], tag=row["tag"]).with_inputs("message") for row in rows(count)]


def metric(gold: Any, pred: Any, trace: Any = None) -> float:
    return float(gold.tag == pred.tag)
