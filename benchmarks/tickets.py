"""A task whose right prompt is known: a ticket is about one topic, and a hidden house rule gives each topic a tag.

Plays both models: the task model knows a tag once its prompt holds the rule, and else mostly guesses wrong; the meta
model reads what went wrong and adds up to three rules, in the form that whoever asks wants to be answered in
(promptlearn's tags, GEPA's ``` block, DSPy's field markers or JSON). Replies depend on the request and, where that is
wanted, on the sample.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

TASK_MODEL, META_MODEL = "gpt-4.1-mini", "gpt-4.1"
"""Names that the peers know, so that they take their usual path; nothing but the local server answers to them."""

SEED = "You help our shop with customer mail. Answer with one tag."
TAGS = {
    "parcel": "shipping", "invoice": "billing", "password": "account", "jacket": "returns", "voucher": "promotions",
    "kettle": "kitchen", "printer": "office", "bicycle": "sports", "sofa": "furniture", "camera": "photo",
    "guitar": "music", "puppet": "toys", "drill": "tools", "lantern": "lighting", "tent": "camping",
    "necklace": "jewelry", "vitamin": "health", "stroller": "baby", "novel": "books", "router": "network",
    "curtain": "textiles", "shovel": "garden", "scooter": "mobility", "perfume": "beauty", "aquarium": "pets",
    "phone": "telephony", "subscription": "plans", "warranty": "legal", "courier": "partners", "leaflet": "marketing",
}  # fmt: skip
WORDS = (
    *("late", "odd", "first", "second", "wet", "blue", "lost", "new", "torn", "cheap", "heavy", "wrong", "green"),
    *("loud", "broken", "empty", "double", "early", "strange", "dusty", "fragile", "crooked", "pale", "sticky"),
    *("cracked", "missing", "noisy", "bitter", "loose", "narrow", "rusty", "silent", "spare", "twisted", "small"),
)

SKILLED, GUESSED = 0.95, 0.25
"""How often the task model is right with the rule and without it."""
RULES_PER_REPLY = 3

_RULE = re.compile(r"[Aa] ticket on the (\w+) gets the tag (\w+)")
_TOPIC = re.compile(rf"\b({'|'.join(TAGS)})\b")


def rule(topic: str) -> str:
    return f"A ticket on the {topic} gets the tag {TAGS[topic]}."


def rows(train: int, validation: int, test: int, seed: int = 0) -> list[dict[str, str]]:
    """Tickets with their tags and splits; no two alike."""
    rng, table = Random(seed), list[dict[str, str]]()
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for _ in range(count):
            topic, number = rng.choice(sorted(TAGS)), len(table) + 1000
            message = f"{number}: my {topic} is {', '.join(rng.sample(WORDS, 4))} since {rng.randrange(2, 90)} days."
            table.append({"message": message, "tag": TAGS[topic], "split": split})
    return table


def chat(prompt: str, message: str) -> list[dict[str, str]]:
    """What the task model is asked."""
    return [{"role": "system", "content": prompt}, {"role": "user", "content": message}]


def skill(prompt: str) -> float:
    """The share of tickets that the task model gets right with this prompt, in the long run."""
    known: int = sum(TAGS.get(topic) == tag for topic, tag in set(_RULE.findall(prompt)))
    return (SKILLED * known + GUESSED * (len(TAGS) - known)) / len(TAGS)


def reply(body: Mapping[str, Any], sample: int = 0) -> str:
    """What the model of this request answers; another `sample` of the meta model may say something else."""
    messages = body["messages"]
    return rewrite(messages, sample) if body.get("model") == META_MODEL else answer(messages)


def answer(messages: Sequence[Mapping[str, Any]]) -> str:
    """The tag of the ticket in the last message, or a wrong one."""
    taught, asked = "\n".join(map(_text, messages[:-1])), _text(messages[-1])
    topics = _TOPIC.findall(asked)
    topic = topics[0] if topics else "parcel"
    rng = Random(f"{taught}\0{asked}")
    right = rng.random() < (SKILLED if (topic, TAGS[topic]) in _RULE.findall(taught) else GUESSED)
    tag = TAGS[topic] if right else rng.choice([other for other in TAGS.values() if other != TAGS[topic]])
    return f"[[ ## tag ## ]]\n{tag}\n\n[[ ## completed ## ]]" if "[[ ## tag ## ]]" in asked + taught else tag


def rewrite(messages: Sequence[Mapping[str, Any]], sample: int = 0) -> str:
    """A better prompt: the rules that are known, and up to three for topics that the request shows without one."""
    asked = "\n".join(map(_text, messages))
    known = dict.fromkeys(topic for topic, tag in _RULE.findall(asked) if TAGS.get(topic) == tag)
    unknown = [topic for topic in dict.fromkeys(_TOPIC.findall(_RULE.sub("", asked))) if topic not in known]
    Random(f"{sample}\0{asked}").shuffle(unknown)
    added = unknown[:RULES_PER_REPLY]
    if "</add>" in asked:
        return "\n".join(f"<add>{rule(topic)}</add>" for topic in added or list(known)[:1])
    prompt = "\n".join([SEED, *map(rule, [*known, *added])])
    if "<rationale>" in asked:
        return f"<rationale>States the tags of {', '.join(added)}.</rationale>\n<prompt>\n{prompt}\n</prompt>"
    if "new_instruction" in asked:
        return json.dumps({"new_instruction": prompt})
    return f"```\n{prompt}\n```"


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
