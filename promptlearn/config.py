"""`promptlearn.yaml`: its shape, its defaults, and errors that name the key.

Knows no file but the configuration's own: prompts, data and judges are opened by those who need them. Paths are
relative to the folder of the configuration file; `resolve()` makes them absolute.
"""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from promptlearn.errors import ConfigError
from promptlearn.records import Json

DEFAULT_CONFIG = "promptlearn.yaml"
JUDGE_TOKENS, META_TOKENS = 768, 2048


class Section(BaseModel):
    """A part of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PromptConfig(Section):
    file: Path
    """Plain text, Markdown (whole, or the block between promptlearn markers), YAML, JSON or our chat YAML."""
    key: str | None = None
    """Path to the prompt inside a YAML or JSON file, such as `support.system`."""


class ContractConfig(Section):
    """What no rewrite may break, on top of the prompt's variables."""

    locked: tuple[str, ...] = ()
    """Texts that stay byte-identical."""
    max_tokens: int | None = Field(None, gt=0)
    """Upper bound of the learned text with its demonstrations."""
    literals: tuple[str, ...] = ()
    """Names in braces that are plain text, not variables."""
    output_schema: dict[str, Json] | None = None
    """JSON schema of the answers."""


class SplitConfig(Section):
    """Shares of the rows, or the name of a column that says train, validation or test."""

    train: float = Field(0.4, ge=0, le=1)
    """Learned from."""
    validation: float = Field(0.3, gt=0, le=1)
    """Raced on."""
    test: float = Field(0.3, gt=0, le=1)
    """Read once, at the end."""
    column: str | None = None
    """Column that holds `train`, `validation` or `test`, instead of shares."""

    @model_validator(mode="after")
    def _adds_up(self) -> SplitConfig:
        if self.column is None and abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError(
                f"train, validation and test add up to {self.train + self.validation + self.test:g}, not 1"
            )
        return self


class LimitConfig(Section):
    """At most so many rows of each split."""

    train: int | None = Field(None, gt=0)
    """Rows of the train split."""
    validation: int | None = Field(None, gt=0)
    """Rows of the validation split."""
    test: int | None = Field(None, gt=0)
    """Rows of the test split."""


class DataConfig(Section):
    file: Path
    """CSV, TSV, JSONL, JSON or Parquet."""
    inputs: tuple[str, ...] | dict[str, str] | None = None
    """Input columns, or {variable: column}; by default every column that has no other use."""
    expected: str | None = None
    """Column of right answers."""
    group: str | None = None
    """Rows with the same value in this column stay in one split."""
    id: str | None = None
    """Column of stable ids; by default an id is the hash of the inputs."""
    metadata: tuple[str, ...] = ()
    """Further columns to keep with each example, for reports."""
    domain: str | None = None
    """Column that says which part of the product a row is about."""
    encoding: str = "utf-8"
    """Of text files; a byte-order mark is understood."""
    split: SplitConfig = SplitConfig()
    """How rows are dealt out."""
    limit: LimitConfig = LimitConfig()
    """Fewer rows, for a cheaper run."""


class PriceConfig(Section):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    """Tokens read."""
    output: float = Field(ge=0)
    """Tokens written."""
    cached: float | None = Field(None, ge=0)
    """Tokens read from the provider's prompt cache; by default as `input`."""


class ModelConfig(Section):
    model: str
    """`openai/NAME`, `local/NAME`, `local/PATH.gguf`, `scripted/PATH.yaml`; any name with a `base_url`."""
    base_url: Annotated[str | None, AfterValidator(lambda url: _without_credentials(url))] = None
    """Root of an endpoint that speaks chat completions, such as http://127.0.0.1:8000/v1."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; keys themselves never stand here."""
    max_tokens: int | None = Field(None, gt=0)
    """Of one reply; by default 512 (task), 768 (judge), 2048 (meta)."""
    temperature: float | None = Field(None, ge=0)
    """By default 0, and 0.7 for meta."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Nucleus sampling; left to the endpoint by default."""
    seed: int | None = None
    """Sent to endpoints that take one."""
    timeout: float = Field(120, gt=0)
    """Seconds for one call."""
    context: int = Field(4096, gt=0)
    """Tokens per slot of a local model."""
    price: PriceConfig | None = None
    """Needed for `budget.usd`; without it the cost is unknown, not zero."""


def _without_credentials(url: str | None) -> str | None:
    """Keys belong into the environment: a configuration is stored with its runs and printed (invariant 10)."""
    if url is not None:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("holds a user, a password or a query; name the key's environment variable in api_key_env")
    return url


def _named(value: Any, key: str) -> Any:
    return {key: value} if isinstance(value, str) else value


NamedModel = Annotated[ModelConfig, BeforeValidator(lambda value: _named(value, "model"))]


class ModelsConfig(Section):
    task: NamedModel
    """Answers the examples."""
    judge: NamedModel | None = None
    """Judges the answers, for judges that are language models."""
    meta: NamedModel | None = None
    """Writes better prompts, for proposers that need a language model."""


class JudgeConfig(Section):
    use: str
    """A code judge, a name from judges/, a path to YAML, or `module:function`."""
    weight: float = Field(1.0, ge=0)
    """Its part in the mean of the judges' scores."""
    veto: bool = False
    """If this judge does not pass an example, the example scores 0."""
    options: dict[str, Json] = Field(default_factory=dict)
    """The judge's own settings, such as `labels`, `pattern` or `tolerance`."""


NamedJudge = Annotated[JudgeConfig, BeforeValidator(lambda value: _named(value, "use"))]

ProposerName = Literal["rewrite", "edit", "rules", "demos"]


class SearchConfig(Section):
    proposers: tuple[ProposerName, ...] | None = Field(None, min_length=1)
    """By default all that can work: `rules` and `demos`, and `rewrite` and `edit` where `models.meta` is set."""
    concurrency: int = Field(16, ge=1, le=1024)
    """Calls at the same time, over all roles; slots of a local model."""
    seed: int = 0
    """The only source of chance."""
    rounds: int = Field(8, ge=0)
    """Rounds of proposing at most."""
    patience: int = Field(3, ge=1)
    """Stop after so many rounds in a row without an accepted candidate."""
    drafts: int = Field(4, ge=1, le=64)
    """Candidates proposed per round."""
    minibatch: int = Field(8, ge=1)
    """Train rows that a round learns from and gates its candidates on."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Level at which a candidate that is no better is accepted, however often the race looks."""
    prune: bool = True
    """At the end, leave out each rule and demonstration in turn and keep what is worth its tokens."""
    max_error_share: float = Field(0.2, ge=0, le=1)
    """The run stops when more than this share of its examples fail."""
    feedback_tokens: int = Field(2000, gt=0)
    """Upper bound of the critique that a proposer reads."""


class BudgetConfig(Section):
    """Caps over all roles together; the run stops before the first call that might exceed one."""

    usd: float | None = Field(None, gt=0)
    """US dollars; needs the price of every model."""
    tokens: int | None = Field(None, gt=0)
    """Input and output together."""
    calls: int | None = Field(None, gt=0)
    """Of every role together."""
    task_calls: int | None = Field(1000, gt=0)
    """Answers to examples, those on the test split included."""
    judge_calls: int | None = Field(None, gt=0)
    """Judgements by language models."""
    meta_calls: int | None = Field(None, gt=0)
    """Rewrites by language models."""
    minutes: float | None = Field(None, gt=0)
    """Working time, that of interrupted stretches included."""


class Config(Section):
    """The whole of `promptlearn.yaml`."""

    prompt: Annotated[PromptConfig, BeforeValidator(lambda value: _named(value, "file"))]
    """The prompt to start from."""
    data: DataConfig
    """The table of examples."""
    models: ModelsConfig
    """Who answers, who judges, who writes."""
    contract: ContractConfig = ContractConfig()
    """What no rewrite may break."""
    reviews: Path | None = None
    """JSON list of reviewers' comments; only approved ones by trusted authors are used."""
    judges: tuple[NamedJudge, ...] = ()
    """By default `label_set` where the expected values are labels, else `correctness` or `normalized_match`."""
    search: SearchConfig = SearchConfig()
    """How to look for a better prompt."""
    budget: BudgetConfig = BudgetConfig()
    """What it may take."""
    store: str | None = None
    """SQLAlchemy URL or path; by default .promptlearn/store.db in the working directory."""

    def resolve(self, folder: Path) -> Config:
        """The same configuration with absolute paths."""
        update: dict[str, Any] = {
            "prompt": self.prompt.model_copy(update={"file": folder / self.prompt.file}),
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
        if self.reviews is not None:
            update["reviews"] = folder / self.reviews
        if self.store is not None and "://" not in self.store:
            update["store"] = str(folder / self.store)
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


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read, check and resolve a configuration. `overrides` are `search.seed=3` pairs whose values are YAML.

    Raises ConfigError naming file and key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration at {path}; make one with `promptlearn init`, or name yours with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} can not be read: {reason}; name a YAML file with --config") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        holds = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ConfigError(f"{path} {holds}; it needs the keys prompt, data and models (see `promptlearn init`)")
    return parse_config(with_overrides(content, overrides), str(path)).resolve(path.resolve().parent)


def with_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """The same document with `KEY=VALUE` pairs put in."""
    changed = copy.deepcopy(content)
    for override in overrides:
        _override(changed, override)
    return changed


def parse_config(content: dict[str, Any], where: str = "configuration") -> Config:
    """Check a configuration that is already in memory; paths stay as they are."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        problems = {_place(problem): problem for problem in reversed(error.errors(include_url=False))}
        words = [_explain(problem) for problem in reversed(problems.values())]
        raise ConfigError(f"{where}: {'; '.join(words[:3])}") from None


def _place(problem: Any) -> tuple[str, ...]:
    """Keys down to the problem, without pydantic's names for validators and the choices of a union."""
    parts = (str(part) for part in problem["loc"])
    return tuple(part for part in parts if not part.startswith(("function-", "tuple[", "dict[")))


_WANTED = {
    "model_type": "Input should hold keys",
    "dict_type": "Input should hold keys",
    "tuple_type": "Input should be a list, such as [a, b]",
    "path_type": "Input should be a path",
}


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, on one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + str(error.problem)


def _explain(problem: Any) -> str:
    place = list(_place(problem))
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(place)
        close = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}" if known else ""
        return f"unknown key `{key}`{hint}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    given = problem["input"]
    shown = f", not {given!r:.60}" if given is None or isinstance(given, str | int | float) else ""
    wanted = _WANTED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "model_type":
        wanted += f": {', '.join(_keys_beside([*place, '']))}"
    return f"`{key}`: {wanted}{shown}" if key else f"{wanted}{shown}"


def _keys_beside(place: list[str]) -> list[str]:
    """Keys that the section of `place` knows."""
    section: Any = Config.model_json_schema()
    definitions = section["$defs"]
    for part in place[:-1]:
        node = section.get("properties", {}).get(part) or section.get("items") or {}
        options = [node, *node.get("anyOf", []), node.get("items", {})]
        found = next((option["$ref"] for option in options if "$ref" in option), None)
        section = definitions[found.rsplit("/", 1)[1]] if found else {} if part not in {"0", "1", "2"} else section
    return list(section.get("properties", {}))


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"`--set {override}` is not KEY=VALUE, such as search.seed=3")
    *path, last = key.split(".")
    node = content
    for part in path:
        below = node.get(part)
        if isinstance(below, str) and part in {"prompt", "task", "judge", "meta"}:
            below = {"file" if part == "prompt" else "model": below}
        node[part] = below = {} if below is None else below
        if not isinstance(below, dict):
            raise ConfigError(f"`--set {override}`: `{part}` holds a value, not keys")
        node = below
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"`--set {override}`: the value is not YAML; put it in quotes: {key}='\"…\"'") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of `promptlearn.yaml`, for editors (committed at docs/promptlearn.schema.json)."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_CONFIG, **schema}
