"""A folder with prompts, a table and an experiments.yaml, for a model that answers as the synthetic task does."""

import json
from pathlib import Path
from typing import Any

import synthetic
import yaml
from chat_server import Answer, completion

from promptlearn.experiments.file import load_experiments
from promptlearn.experiments.matrix import Experiment, expand
from promptlearn.records import Message

SEARCH = {"rounds": 1, "drafts": 2, "prune": False}


def write_lab(folder: Path, url: str = "http://127.0.0.1:9/v1", rows: int = 60, **changes: Any) -> Path:
    """Returns the path of experiments.yaml; `changes` are keys of it."""
    for name, text in (("short", "You help our shop."), ("long", synthetic.SEED), ("gruff", "Be brief.")):
        file = folder / f"prompts/{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")
    (folder / "tickets.jsonl").write_text("\n".join(map(json.dumps, synthetic.rows(rows))), encoding="utf-8")
    reviews = [
        {"id": one.id, "body": one.body, "author_association": "MEMBER", "state": "approved", "url": one.url}
        for one in synthetic.house_rules()
    ]
    (folder / "reviews.json").write_text(json.dumps(reviews), encoding="utf-8")
    base = {
        "prompt": "prompts/long.md",
        "data": {"file": "tickets.jsonl", "inputs": ["message"], "expected": "tag"},
        "reviews": "reviews.json",
        # No second copies: on a busy machine they ask a question twice on purpose.
        "models": {"task": {"model": "openai/fixed", "base_url": url, "max_tokens": 8, "hedge": None}},
        "search": SEARCH,
    }
    path = folder / "experiments.yaml"
    path.write_text(yaml.safe_dump({"base": base} | changes, sort_keys=False), encoding="utf-8")
    return path


def experiments(path: Path, *overrides: str) -> tuple[Experiment, ...]:
    return expand(load_experiments(path, overrides))


def names(path: Path, *overrides: str) -> list[str]:
    return [one.name for one in experiments(path, *overrides)]


def reply(body: dict[str, Any]) -> Answer:
    """The same answer to the same question."""
    messages = [Message(one["role"], one["content"]) for one in body["messages"]]
    return Answer(completion(synthetic.answer(messages)))
