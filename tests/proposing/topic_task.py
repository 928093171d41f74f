"""A synthetic task whose best prompt is known: each topic is answered right iff the prompt says how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptlearn.proposing.base import Brief
from promptlearn.records import Example, FailureMode, Prompt

TOPICS: Mapping[str, str] = {
    "parcel": "shipping",
    "invoice": "billing",
    "password": "account",
    "crash": "technical",
}
_ASIDES = ("please help", "this is urgent", "any news", "I waited for days", "thanks in advance", "again")


def messages_of(topic: str, count: int) -> list[str]:
    asides = [*_ASIDES, *(f"my case number is {i * 7919}" for i in range(count))]
    return [f"a question about my {topic}, {asides[i]}" for i in range(count)]


def train_rows(per_topic: int = 6) -> list[Example]:
    return [
        Example(f"{topic}-{i}", {"message": message}, answer)
        for topic, answer in TOPICS.items()
        for i, message in enumerate(messages_of(topic, per_topic))
    ]


def task(prompt: Prompt, example: Example) -> str:
    """The task model: it knows a topic where a rule or demonstration about it stands in the prompt."""
    seen = "\n".join(message.content for message in prompt.render(example.inputs)[:-1])
    topic = next(topic for topic in TOPICS if topic in str(example.inputs["message"]))
    return TOPICS[topic] if topic in seen and TOPICS[topic] in seen else "I am happy to help!"


def accuracy(prompt: Prompt, rows: Sequence[Example]) -> float:
    return sum(1 for row in rows if task(prompt, row) == row.expected) / len(rows)


def mode_of(topic: str, rows: Sequence[Example]) -> FailureMode:
    mine = [row for row in rows if row.expected == TOPICS[topic]]
    return FailureMode(
        title=f"label_set: expected `{TOPICS[topic]}`",
        examples=tuple(row.id for row in mine),
        evidence=(f"message: {mine[0].inputs['message']}\noutput: I am happy to help!\nexpected: {TOPICS[topic]}",),
        suggestions=(f"Label questions about a {topic} as {TOPICS[topic]}.",),
        expected=TOPICS[topic],
    )


def topic_brief() -> Brief:
    """A parent that fails on everything."""
    rows = train_rows()
    return Brief(
        parent=Prompt.of("Answer the customer."),
        modes=tuple(mode_of(topic, rows) for topic in TOPICS),
        train=rows,
        failed=frozenset(row.id for row in rows),
        seed=7,
    )
