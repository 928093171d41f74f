"""Writes docs/configuration.md and docs/promptlearn.schema.json from the configuration's own words.

python docs/reference.py     (a test says when it has to be run again)
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from promptlearn import config

FOLDER = Path(__file__).parent
INTRODUCTION = """\
# Configuration

`promptlearn.yaml`. Every key but `prompt`, `data` and `models.task` has a default; an unknown key is an error that
names it. Paths are relative to the file. `--set KEY=VALUE` overrides any key from the command line. Keys never
stand here: `api_key_env` names the environment variable that holds one. The same for editors:
[promptlearn.schema.json](promptlearn.schema.json).
"""
SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("Top level", config.Config, ""),
    ("prompt", config.PromptConfig, "A path, or an object:"),
    ("data", config.DataConfig, ""),
    ("data.split", config.SplitConfig, ""),
    ("data.limit", config.LimitConfig, ""),
    ("models", config.ModelsConfig, ""),
    ("models.task, models.judge, models.meta", config.ModelConfig, "A name, or an object:"),
    ("models.….price", config.PriceConfig, ""),
    ("models.….batch", config.BatchConfig, "`true`, or an object:"),
    ("judges", config.JudgeConfig, "A list of names or objects; [what there is](../judges/README.md)."),
    ("scoring", config.ScoringConfig, ""),
    ("objectives", config.ObjectiveConfig, ""),
    ("contract", config.ContractConfig, ""),
    ("program", config.ProgramConfig, ""),
    ("program.limits", config.ProcessLimitsConfig, ""),
    ("reviews", config.ReviewsConfig, "A path, `store`, or an object:"),
    ("search", config.SearchConfig, ""),
    ("budget", config.BudgetConfig, ""),
    ("tuning", config.TuningConfig, "Needs the extra `rl`; [how it works](tuning.md)."),
    ("tuning.lora", config.LoraConfig, ""),
    ("tuning.ranking", config.RankingConfig, "`true`, or an object:"),
    ("tuning.sampler", config.SamplerConfig, ""),
    ("compare", config.CompareConfig, ""),
]


def reference() -> str:
    """The text of configuration.md."""
    parts = [INTRODUCTION]
    for title, section, introduction in SECTIONS:
        words = introduction or " ".join((section.__doc__ or "").split())
        rows = [
            f"| `{field.alias or name}` | {_default(field)} | {_words(field)} |"
            for name, field in section.model_fields.items()
        ]
        parts.append("\n".join([f"## {title}", "", words, "", "| key | default | what |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def schema() -> str:
    """The text of promptlearn.schema.json."""
    return json.dumps(config.json_schema(), indent=2) + "\n"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{json.dumps(value)}`" if isinstance(value, bool | int | float | str) else "–"


def _words(field: Any) -> str:
    return " ".join((field.description or "").split()).replace("|", "/")


if __name__ == "__main__":
    (FOLDER / "configuration.md").write_text(reference(), encoding="utf-8")
    (FOLDER / "promptlearn.schema.json").write_text(schema(), encoding="utf-8")
