"""docs/batch.md and the shipped example say what the code does."""

import re
from pathlib import Path

import typer
import yaml

from promptlearn.cli.main import app
from promptlearn.config import parse_section
from promptlearn.experiments.axes import KEYS, key_of
from promptlearn.experiments.file import ExperimentsConfig, load_experiments
from promptlearn.experiments.matrix import expand

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/batch.md").read_text(encoding="utf-8")


def test_the_page_names_every_key_axis_and_option() -> None:
    names = [*ExperimentsConfig.model_fields, *(name for name in KEYS if "." not in name)]
    for name in names:
        assert re.search(rf"\| `{name}`", PAGE), name
    command = typer.main.get_command(app).commands["batch"]  # type: ignore[attr-defined]
    shared = {"--help", "--store", "--quiet", "--again"}
    for option in command.params:
        for flag in option.opts:
            if flag.startswith("--") and flag not in shared:
                assert flag in PAGE, flag


def test_the_page_s_file_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    settings = parse_section(ExperimentsConfig, yaml.safe_load(text), "docs/batch.md")
    assert [key_of(name) for name in settings.matrix] == ["prompt", "models", "search.proposers", "search.seed"]
    assert settings.budget is not None


def test_the_example_is_seven_experiments() -> None:
    found = expand(load_experiments(ROOT / "examples/support_triage/experiments.yaml"))
    assert [one.name for one in found] == [
        "none",
        "demos/seed=0",
        "demos/seed=1",
        "rules/seed=0",
        "rules/seed=1",
        "rules+demos/seed=0",
        "rules+demos/seed=1",
    ]
    assert all(one.config.search.rounds == 1 for one in found)
