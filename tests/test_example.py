"""The shipped example: enough messages, none like another, and every part of it opens."""

import csv
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

from promptlearn.config import load_config
from promptlearn.dataset import find_leaks, load_dataset
from promptlearn.prompt import read_prompt
from promptlearn.reviews import load_reviews, usable

FOLDER = Path(__file__).parents[1] / "examples/support_triage"


def messages() -> list[dict[str, str]]:
    with (FOLDER / "tickets.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_there_are_enough_messages_with_five_labels() -> None:
    rows = messages()
    labels = Counter(row["label"] for row in rows)
    assert len(rows) >= 360
    assert len(labels) == 5
    assert min(labels.values()) >= 60
    lengths = [len(row["message"].split()) for row in rows]
    assert min(lengths) <= 5
    assert max(lengths) >= 80


def test_no_two_messages_are_alike() -> None:
    """Words in common over words of both stay below a half, for every pair."""
    words = [frozenset(re.findall(r"\w+", row["message"].casefold())) for row in messages()]
    assert max(len(a & b) / len(a | b) for a, b in combinations(words, 2)) < 0.5


def test_its_splits_do_not_leak() -> None:
    dataset = load_dataset(FOLDER / "tickets.csv", inputs=["message"], expected="label", group="customer")
    assert find_leaks(dataset) == []
    assert len(dataset.labels) == 5


def test_its_configuration_prompt_and_reviews_open() -> None:
    config = load_config(FOLDER / "promptlearn.yaml")
    assert read_prompt(config.prompt.file).format == "chat"
    assert isinstance(config.reviews, Path)
    reviews = load_reviews(config.reviews)
    assert len(usable(reviews)) == 5
    assert any(not review.trusted for review in reviews)


def test_its_comparison_opens_and_its_arm_prompt_is_the_demo() -> None:
    config, demo = load_config(FOLDER / "compare.yaml"), load_config(FOLDER / "promptlearn.yaml")
    assert config.compare.arms == ("base", "prompt", "weights", "prompt+weights")
    assert config.compare.seeds >= 3
    for part in ("prompt", "data", "models", "judges", "search", "reviews"):
        assert getattr(config, part) == getattr(demo, part), part


def test_the_seed_prompt_tells_no_label() -> None:
    text = read_prompt(FOLDER / "prompt.yaml").prompt.text
    assert not any(label in text for label in {row["label"] for row in messages()})
