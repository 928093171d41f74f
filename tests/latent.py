"""A task of many small rules: a message names three topics, and each topic has a hidden tag.

The scripted task model knows a tag once its prompt states it; the scripted teacher states a few of the tags that the
critique names. So no single round can learn everything, and rounds in flight learn different things.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import promptlearn
from promptlearn import Budget, Verdict
from promptlearn.dataset import load_dataset
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Candidate, Decision, Example, Message, Rollout
from promptlearn.store import open_store

_RULE = re.compile(r"topic(\w\w) gets (\w+)\.")
_TAUGHT = 4


@dataclass(frozen=True)
class Learned:
    tags: dict[str, str]
    candidates: tuple[Candidate, ...]
    decisions: tuple[Decision, ...]

    def known(self, candidate: Candidate) -> int:
        """How many of the hidden tags a prompt states."""
        said = dict(_RULE.findall(candidate.prompt.learned_text()))
        return sum(said.get(topic) == tag for topic, tag in self.tags.items())


def tags_of(count: int) -> dict[str, str]:
    return {f"{first}{second}": f"tag{second}{first}" for first in "abcdefghij" for second in "klmnopqr"[: count // 10]}


def table(tags: dict[str, str], count: int = 300) -> list[dict[str, str]]:
    rng, rows = Random("latent"), list[dict[str, str]]()
    for number in range(count):
        topics = rng.sample(sorted(tags), 3)
        message = f"{number}: " + ", ".join(f"topic{topic}" for topic in topics)
        split = ("train", "validation", "test")[0 if number < 180 else 1 if number < 280 else 2]
        rows.append({"message": message, "tags": " ".join(tags[topic] for topic in topics), "split": split})
    return rows


def answer(messages: Sequence[Message]) -> str:
    taught = dict(_RULE.findall("\n".join(message.content for message in messages[:-1])))
    return " ".join(taught.get(topic, "?") for topic in re.findall(r"topic(\w\w)", messages[-1].content))


def teach(messages: Sequence[Message]) -> str:
    asked = messages[-1].content
    known = dict(_RULE.findall(asked.split("It made these mistakes")[0]))
    new = [(topic, tag) for topic, tag in dict(_RULE.findall(asked)).items() if topic not in known]
    lines = [f"<add>Mail on topic{topic} gets {tag}.</add>" for topic, tag in new[:_TAUGHT]]
    return "\n".join(lines or ["<add>Be kind to everybody.</add>"])


def judge(example: Example, rollout: Rollout) -> Verdict:
    wanted, given = str(example.expected).split(), rollout.output.split()
    topics = re.findall(r"topic(\w\w)", str(example.inputs["message"]))
    missed = [(topic, tag) for topic, tag, said in zip(topics, wanted, given, strict=True) if tag != said]
    said = " ".join(f"Mail on topic{topic} gets {tag}." for topic, tag in missed)
    return Verdict("tags", rollout.id, 1 - len(missed) / 3, explanation=said, passed=not missed)


def learn(folder: Path, rules: int, rounds: int, concurrency: int = 8, proposers: Sequence[str] = ("edit",)) -> Learned:
    tags = tags_of(rules)
    result = promptlearn.optimize(
        "Tag the mail.",
        load_dataset(table(tags), inputs=["message"], expected="tags", split={"column": "split"}),
        task=ScriptedModel(answer, identity="latent task"),
        meta=ScriptedModel(teach, identity="latent teacher"),
        judges=[judge],
        proposers=list(proposers),
        rounds=rounds,
        concurrency=concurrency,
        prune=False,
        budget=Budget(task_calls=5000),
        store=folder / "store.db",
    )
    with open_store(folder / "store.db") as store:
        rows = store.reader.candidates(result.run_id)
        return Learned(tags, tuple(row.candidate for row in rows), tuple(store.reader.decisions(result.run_id)))
