"""`promptlearn.yaml`: its shape, its defaults, and errors that name the key.

Knows no file but the configuration's own: prompts, data and judges are opened by those who need them. Paths are
relative to the folder of the configuration file; `resolve()` makes them absolute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from promptlearn.config.budget import BudgetConfig, RoleBudgetConfig, RoleBudgetsConfig
from promptlearn.config.compare import ArmName, CompareConfig
from promptlearn.config.data import DataConfig, LimitConfig, SplitConfig
from promptlearn.config.judges import JudgeConfig, NamedJudge, ScoringConfig
from promptlearn.config.models import (
    COMMAND,
    JUDGE_TOKENS,
    META_TOKENS,
    BatchConfig,
    ModelConfig,
    ModelsConfig,
    PriceConfig,
)
from promptlearn.config.objectives import QUALITY, NamedObjective, ObjectiveConfig, in_order
from promptlearn.config.overrides import put_key, with_overrides
from promptlearn.config.program import ProcessLimitsConfig, ProgramConfig
from promptlearn.config.prompt import ContractConfig, PromptConfig
from promptlearn.config.reading import parse_section, read_mapping
from promptlearn.config.reviews import ReviewsConfig, from_store
from promptlearn.config.search import SearchConfig
from promptlearn.config.section import Section, named
from promptlearn.config.tuning import LoraConfig, RankingConfig, SamplerConfig, TuningConfig

__all__ = [
    "COMMAND",
    "DEFAULT_CONFIG",
    "JUDGE_TOKENS",
    "META_TOKENS",
    "QUALITY",
    "ArmName",
    "BatchConfig",
    "BudgetConfig",
    "CompareConfig",
    "Config",
    "ContractConfig",
    "DataConfig",
    "JudgeConfig",
    "LimitConfig",
    "LoraConfig",
    "ModelConfig",
    "ModelsConfig",
    "ObjectiveConfig",
    "PriceConfig",
    "ProcessLimitsConfig",
    "ProgramConfig",
    "PromptConfig",
    "RankingConfig",
    "ReviewsConfig",
    "RoleBudgetConfig",
    "RoleBudgetsConfig",
    "SamplerConfig",
    "ScoringConfig",
    "SearchConfig",
    "Section",
    "SplitConfig",
    "TuningConfig",
    "in_order",
    "json_schema",
    "load_config",
    "parse_config",
    "parse_section",
    "put_key",
    "read_mapping",
    "with_overrides",
]

DEFAULT_CONFIG = "promptlearn.yaml"


class Config(Section):
    """The whole of `promptlearn.yaml`."""

    prompt: Annotated[PromptConfig, BeforeValidator(lambda value: named(value, "file"))]
    """The prompt to start from."""
    data: DataConfig
    """The table of examples."""
    models: ModelsConfig
    """Who answers, who judges, who writes."""
    contract: ContractConfig = ContractConfig()
    """What no rewrite may break."""
    reviews: Annotated[Path | ReviewsConfig | None, BeforeValidator(lambda value: from_store(value))] = None
    """JSON list of reviewers' comments, `store`, or an object; only approved ones by trusted authors are used."""
    judges: tuple[NamedJudge, ...] = ()
    """By default `label_set` where the expected values are labels, else `correctness` or `normalized_match`."""
    scoring: ScoringConfig = ScoringConfig()
    """How verdicts become one score, and which difference counts."""
    objectives: tuple[NamedObjective, ...] = ()
    """What counts beside quality: names or objects, in the order in which they count; [how](objectives.md)."""
    search: SearchConfig = SearchConfig()
    """How to look for a better prompt."""
    budget: BudgetConfig = BudgetConfig()
    """What it may take."""
    program: ProgramConfig | None = None
    """A command that answers instead of `models.task`, or a DSPy program that asks it."""
    tuning: TuningConfig = TuningConfig()
    """How `promptlearn tune` trains weights."""
    compare: CompareConfig = CompareConfig()
    """What `promptlearn compare` sets against each other."""
    store: str | None = None
    """SQLAlchemy URL or path; by default .promptlearn/store.db in the working directory."""

    @property
    def command(self) -> ProgramConfig | None:
        """`program`, where it is a command."""
        return None if self.program is None or self.program.dspy is not None else self.program

    @model_validator(mode="before")
    @classmethod
    def _command_answers(cls, content: Any) -> Any:
        program = content.get("program") if isinstance(content, dict) else None
        runs_command = bool(program) and not (isinstance(program, dict) and program.get("dspy"))
        models = content.get("models", {}) if isinstance(content, dict) and runs_command else None
        return {**content, "models": {"task": COMMAND, **models}} if isinstance(models, dict) else content

    @model_validator(mode="after")
    def _objectives_fit(self) -> Config:
        in_order(self.objectives)
        return self

    @model_validator(mode="after")
    def _one_answers(self) -> Config:
        if self.command is None and self.models.task.model == COMMAND:
            raise ValueError("`models.task` is `command`, and there is no `program` that says which")
        if self.command is not None and self.models.task.model != COMMAND:
            raise ValueError("`models.task` is not asked where `program` runs a command; leave it out")
        if self.prompt.files and self.command is None:
            raise ValueError("`prompt.files` is for a `program` that is a command; a DSPy program has its own sections")
        if self.prompt.files and self.program is not None and self.program.prompt_path is not None:
            raise ValueError("`program.prompt_path` is for a single prompt; leave it out with `prompt.files`")
        return self

    def resolve(self, folder: Path) -> Config:
        """The same configuration with absolute paths."""
        update: dict[str, Any] = {
            "prompt": self.prompt.model_copy(
                update={
                    "file": folder / self.prompt.file,
                    "files": {name: folder / path for name, path in self.prompt.files.items()},
                }
            ),
            "data": self.data.model_copy(update={"file": folder / self.data.file}),
            "judges": tuple(judge.model_copy(update={"use": _judge_path(folder, judge.use)}) for judge in self.judges),
            "models": self.models.model_copy(
                update={
                    role: model.model_copy(update={"model": _model_path(folder, model.model)})
                    for role in ("task", "judge", "meta")
                    if (model := getattr(self.models, role)) is not None
                }
            ),
        }
        if isinstance(self.reviews, Path):
            update["reviews"] = folder / self.reviews
        if self.store is not None and "://" not in self.store:
            update["store"] = str(folder / self.store)
        if self.program is not None:
            update["program"] = self.program.resolve(folder)
        if self.tuning.base is not None:
            update["tuning"] = self.tuning.model_copy(update={"base": _weights_path(folder, self.tuning.base)})
        return self.model_copy(update=update)


def _judge_path(folder: Path, use: str) -> str:
    return str(folder / use) if use.endswith((".yaml", ".yml")) else use


def _model_path(folder: Path, name: str) -> str:
    """`local/models/a.gguf` and `scripted/rules.yaml` name files beside the configuration."""
    provider, _, path = name.partition("/")
    if not path.startswith("hf:") and (provider, Path(path).suffix) in {
        ("local", ".gguf"),
        ("scripted", ".yaml"),
        ("scripted", ".yml"),
    }:
        return f"{provider}/{folder / path}"
    return name


def _weights_path(folder: Path, base: str) -> str:
    """A GGUF file or a folder of weights beside the configuration; any other name stays as it is."""
    if base.startswith("local/"):
        return _model_path(folder, base)
    return str(folder / base) if base.endswith(".gguf") or (folder / base).is_dir() else base


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read, check and resolve a configuration. `overrides` are `search.seed=3` pairs whose values are YAML.

    Raises ConfigError naming file and key.
    """
    missing = f"no configuration at {path}; make one with `promptlearn init`, or name yours with --config"
    content = read_mapping(path, missing, "it needs the keys prompt, data and models (see `promptlearn init`)")
    return parse_config(with_overrides(content, overrides), str(path)).resolve(path.resolve().parent)


def parse_config(content: dict[str, Any], where: str = "configuration") -> Config:
    """Check a configuration that is already in memory; paths stay as they are."""
    return parse_section(Config, content, where)


def json_schema() -> dict[str, Any]:
    """JSON Schema of `promptlearn.yaml`, for editors (committed at docs/promptlearn.schema.json)."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_CONFIG, **schema}
