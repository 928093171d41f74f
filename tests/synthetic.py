"""A task whose best prompt is known: a message names a topic, and hidden house rules tie topics to tags.

The scripted task model obeys what its prompt says: it knows the tags once a rule lists them, and a topic's tag once a
rule or a demonstration ties the two together. Anything else it answers with chatter.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Message, Review

TAGS = {"parcel": "shipping", "invoice": "billing", "password": "account", "jacket": "returns"}
SEED = "You help our shop with customer mail."
ADJECTIVES = ("late", "odd", "first", "second", "wet", "blue", "lost", "new", "torn", "cheap", "heavy", "wrong")


def rows(count: int = 200, seed: int = 0) -> list[dict[str, str]]:
    """Messages with their tags; no two alike."""
    rng = Random(seed)
    table = []
    for number in range(count):
        topic = rng.choice(sorted(TAGS))
        words = " ".join(rng.sample(ADJECTIVES, 3))
        table.append({"message": f"Ticket {number}: my {topic} is {words}.", "tag": TAGS[topic]})
    return table


def topic_of(text: str) -> str | None:
    found = [topic for topic in TAGS if re.search(rf"\b{topic}\b", text)]
    return found[0] if len(found) == 1 else None


def answer(messages: Sequence[Message]) -> str:
    """The tag where the prompt ties this message's topic to it."""
    question = messages[-1].content
    topic = topic_of(question)
    taught = "\n".join(message.content for message in messages[:-1])
    if topic is None:
        return "I am not sure."
    for line in taught.splitlines():
        if topic in line and TAGS[topic] in line:
            return TAGS[topic]
    for before, after in pairwise(messages):
        if before.role == "user" and after.role == "assistant" and topic_of(before.content) == topic:
            return after.content
    return "Thank you for your message! How can I help?"


def task_model(
    identity: str = "synthetic/1", latency: float | Callable[[Sequence[Message]], float] = 0.0
) -> ScriptedModel:
    return ScriptedModel(answer, name="synthetic", identity=identity, latency=latency)


def house_rules() -> tuple[Review, ...]:
    """Approved reviews that state every hidden rule."""
    return tuple(
        Review(
            id=f"r{number}",
            body=f"A message about a {topic} is {tag}.",
            author="kim",
            trusted=True,
            state="approved",
            url=f"https://example.invalid/pull/1#r{number}",
        )
        for number, (topic, tag) in enumerate(sorted(TAGS.items()))
    )
