"""The tasks of `quality.py`: rows of real data with a vague seed prompt, the same for every contender.

Knows the files of banking77 (PolyAI, CC BY 4.0) and BIG-Bench Hard (MIT), nothing about models or optimizers. Test rows
depend on the task alone; a seed draws train and validation rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

TRAIN, VALIDATION, TEST = 120, 40, 100
"""Rows that a contender gets; validation rows are its own to use as it likes."""

EIGHT = (
    *("card_arrival", "lost_or_stolen_card", "card_payment_fee_charged", "exchange_rate"),
    *("top_up_failed", "request_refund", "passcode_forgotten", "pending_transfer"),
)
"""The labels of `banking77.py`; the task with 20 has twelve more, drawn once."""
BBH = "sports_understanding"


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    prompt: str
    """What every contender begins with; it names no answer."""
    train: Sequence[Row]
    validation: Sequence[Row]
    test: Sequence[Row]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({row.answer for row in (*self.train, *self.validation, *self.test)}))

    def rows(self) -> list[dict[str, str]]:
        """As a table with a column `split`."""
        splits: Mapping[str, Sequence[Row]] = {"train": self.train, "validation": self.validation, "test": self.test}
        return [
            {"text": row.text, "answer": row.answer, "split": split} for split, rows in splits.items() for row in rows
        ]


def load(name: str, data: Path, seed: int) -> Task:
    return TASKS[name](name, data, seed)


def _banking(name: str, data: Path, seed: int) -> Task:
    labels = _labels(data, int(name.removeprefix("banking77-")))
    test = _sample(_messages(data / "banking77" / "test.csv", labels), TEST, Random(0))
    learned = _sample(_messages(data / "banking77" / "train.csv", labels), TRAIN + VALIDATION, Random(seed))
    prompt = "You are a bank's support assistant. Classify the customer's message."
    return Task(name, prompt, learned[:TRAIN], learned[TRAIN:], test)


def _labels(data: Path, count: int) -> Sequence[str]:
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as stream:
        others = sorted({row["category"] for row in csv.DictReader(stream)} - set(EIGHT))
    return (*EIGHT, *Random(0).sample(others, count - len(EIGHT)))


def _messages(path: Path, labels: Sequence[str]) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [Row(row["text"].strip(), row["category"]) for row in csv.DictReader(stream)]
    return [row for row in dict.fromkeys(rows) if row.answer in labels]


def _bbh(name: str, data: Path, seed: int) -> Task:
    examples = json.loads((data / "bbh" / f"{BBH}.json").read_text(encoding="utf-8"))["examples"]
    rows = _sample(list(dict.fromkeys(Row(e["input"], e["target"]) for e in examples)), len(examples), Random(0))
    test, rest = rows[:TEST], rows[TEST:]
    rest = _sample(rest, len(rest), Random(seed))
    return Task(name, "Answer the question.", rest[VALIDATION:][:TRAIN], rest[:VALIDATION], test)


def _sample(rows: Sequence[Row], count: int, rng: Random) -> list[Row]:
    return rng.sample(rows, min(count, len(rows)))


TASKS = {"banking77-8": _banking, "banking77-20": _banking, f"bbh-{BBH}": _bbh}
