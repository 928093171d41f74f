"""A folder as a user has it: the synthetic task as files, and a scripted model that obeys what its prompt says."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import synthetic
import yaml

Table = Sequence[Mapping[str, str]]


def write_table(path: Path, rows: Table, encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_shop(folder: Path, rows: Table | None = None, **changes: Any) -> Path:
    """prompt.md, tickets.csv, reviews.json, model.yaml and a promptlearn.yaml that names them all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompt.md").write_text(synthetic.SEED + "\n", encoding="utf-8")
    write_table(folder / "tickets.csv", synthetic.rows(120) if rows is None else rows)
    reviews = [
        {"id": one.id, "body": one.body, "author_association": "MEMBER", "state": "approved", "url": one.url}
        for one in synthetic.house_rules()
    ]
    (folder / "reviews.json").write_text(json.dumps(reviews), encoding="utf-8")
    script = {"rules": _rules(), "default": "Thank you for your message!"}
    (folder / "model.yaml").write_text(yaml.safe_dump(script), encoding="utf-8")
    config: dict[str, Any] = {
        "prompt": "prompt.md",
        "data": {"file": "tickets.csv", "inputs": ["message"], "expected": "tag"},
        "reviews": "reviews.json",
        "models": {"task": "scripted/model.yaml"},
        "search": {"rounds": 1, "drafts": 4},
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config | changes, sort_keys=False), encoding="utf-8")
    return folder


def _rules() -> list[dict[str, str]]:
    """As `synthetic.answer`: a topic's tag is known once a rule or a demonstration ties the two together."""
    rules = []
    for topic, tag in synthetic.TAGS.items():
        asked = rf"user: [^\n]*\b{topic}\b"
        rules.append({"when": rf"(?s){topic} is {tag}.*{asked}[^\n]*\Z", "reply": tag})
        rules.append({"when": rf"(?s){asked}[^\n]*\nassistant: {tag}.*{asked}[^\n]*\Z", "reply": tag})
    return rules
