"""`promptlearn.yaml`: its shape, its defaults, and errors that name the key.

Knows no file but the configuration's own: prompts, data and judges are opened by those who need them. Paths are
relative to the folder of the configuration file; `resolve()` makes them absolute.
"""

from __future__ import annotations

import copy
import difflib
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from promptlearn.errors import ConfigError
from promptlearn.records import Json

DEFAULT_CONFIG = "promptlearn.yaml"
JUDGE_TOKENS, META_TOKENS = 768, 2048
COMMAND = "command"
"""`models.task` where `program` answers."""


class Section(BaseModel):
    """A part of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


S = TypeVar("S", bound=Section)


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


class BatchConfig(Section):
    """How calls become batches, for endpoints with OpenAI's files and batches."""

    size: int = Field(10_000, ge=1, le=50_000)
    """Requests that are sent without waiting for more."""
    send_delay_s: float = Field(15, gt=0)
    """What has been collected is sent when no call has come for so many seconds."""
    poll_s: float = Field(15, gt=0)
    """Seconds between the first two looks at a batch; later ones are up to eight times as far apart."""
    window: str = "24h"
    """What the provider is asked to stay within; OpenAI takes 24h only."""
    discount: float = Field(0.5, ge=0, le=1)
    """What a batch costs, as a share of `price`."""


class ModelConfig(Section):
    model: str
    """`openai/NAME`, `PROVIDER/NAME` (through LiteLLM), `local/NAME`, `local/PATH.gguf`, `scripted/PATH.yaml`; any name
    with a `base_url`."""
    base_url: Annotated[str | None, AfterValidator(lambda url: _without_credentials(url))] = None
    """Root of an endpoint that speaks chat completions, such as http://127.0.0.1:8000/v1; one that speaks a provider's
    own protocol where the model is `litellm/PROVIDER/NAME`."""
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
    """By default what LiteLLM's table says, for OpenAI's own endpoint and LiteLLM's providers, if LiteLLM is installed.
    Otherwise the cost is unknown, not zero, and `budget.usd` needs it."""
    rpm: float | None = Field(None, gt=0)
    """Calls per minute at most; how many are in flight is found out."""
    tpm: float | None = Field(None, gt=0)
    """Tokens per minute at most, input and output together."""
    hedge: float | None = Field(0.95, ge=0.5, lt=1)
    """Quantile of the model's latency after which a slow call is sent a second time, where budget and slots are to
    spare; null is never."""
    outage_minutes: float = Field(10, ge=0)
    """How long to wait for an endpoint that has answered before and is down now, or refuses calls (429)."""
    batch: Annotated[BatchConfig | None, BeforeValidator(lambda value: _switched(value))] = None
    """Send calls to the provider's batch API: half the price, answered within a day. `true`, or an object."""


def _without_credentials(url: str | None) -> str | None:
    """Keys belong into the environment: a configuration is stored with its runs and printed (invariant 10)."""
    if url is not None:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("holds a user, a password or a query; name the key's environment variable in api_key_env")
    return url


def _switched(value: Any) -> Any:
    """`true` is a section with its defaults, `false` none."""
    return value if not isinstance(value, bool) else {} if value else None


def _named(value: Any, key: str) -> Any:
    return {key: value} if isinstance(value, str) else value


def _reviews(value: Any) -> Any:
    return {"from": "store"} if value == "store" else value


NamedModel = Annotated[ModelConfig, BeforeValidator(lambda value: _named(value, "model"))]


class ModelsConfig(Section):
    task: NamedModel
    """Answers the examples; `command` where `program` does, which may be left out."""
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


class ReviewsConfig(Section):
    """Comments that were approved in the store; `reviews: store` is all of them."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    source: Literal["store"] = Field("store", alias="from")
    """Where they are."""
    repo: str | None = None
    """OWNER/REPO that they were said in; by default any. Rules that were added by hand count everywhere."""
    paths: tuple[str, ...] = ()
    """Files that they were said about (`*`, `**`, `?`), such as 'prompts/**'; by default any. What was said about no
    file counts too."""
    auto_approve: Literal["trusted"] | None = None
    """`trusted` allows `promptlearn feedback approve --auto-approve trusted`, which approves what looks like a rule by
    people with write permission without anybody reading it."""


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
    pipeline_depth: int = Field(2, ge=1, le=64)
    """Rounds in flight at the same time; a round sees the search as it was so many commits before it. 1 is one after
    the other."""
    spare: float = Field(0.1, ge=0, lt=1)
    """Part of every cap that the search leaves for speed: for rows that run ahead of a decision which makes them
    superfluous, second copies of slow calls, and failed attempts. More of it keeps more slots busy."""
    minibatch: int = Field(8, ge=1)
    """Train rows that a round learns from and gates its candidates on."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Level at which a candidate that is no better is accepted, however often the race looks."""
    guard: bool = True
    """Keep the prompt in charge where a winner loses what approved reviews have taught it."""
    prune: bool = True
    """At the end, leave out each rule and demonstration in turn and keep what is worth its tokens."""
    max_error_share: float = Field(0.2, ge=0, le=1)
    """The run stops when more than this share of its examples fail."""
    feedback_tokens: int = Field(2000, gt=0)
    """Upper bound of the critique that a proposer reads."""


class RoleBudgetConfig(Section):
    """Caps over one role; its calls are capped by `task_calls` and its like."""

    usd: float | None = Field(None, gt=0)
    """US dollars; needs the price of the role's model."""
    tokens: int | None = Field(None, gt=0)
    """Input and output together."""


class RoleBudgetsConfig(Section):
    task: RoleBudgetConfig = RoleBudgetConfig()
    """Answers to examples."""
    judge: RoleBudgetConfig = RoleBudgetConfig()
    """Judgements by language models."""
    meta: RoleBudgetConfig = RoleBudgetConfig()
    """Rewrites by language models."""


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
    roles: RoleBudgetsConfig = RoleBudgetsConfig()
    """Dollars and tokens of one role by itself, such as `judge: {usd: 2}`."""


class ProcessLimitsConfig(Section):
    """What each process of a command may take; null is no limit."""

    cpu_s: float | None = Field(600, gt=0)
    """Seconds of processor time."""
    memory_mb: int | None = Field(4096, gt=0)
    """Private memory in MiB; Linux only."""
    file_mb: int | None = Field(512, gt=0)
    """Size of any one file that it writes, in MiB."""
    processes: int | None = Field(1024, gt=0)
    """More than the user has when the run begins; has no power over root."""


class ProgramConfig(Section):
    """A command instead of a chat completion: a coding agent, or anything else that reads a prompt from a file."""

    command: str | tuple[str, ...]
    """Words, or a line that is split as a shell would, and given to none. A word that names a file beside the
    configuration, and none in `repo`, means that file."""
    repo: Path | None = None
    """Folder of which every rollout gets a copy, without what git ignores; by default an empty one."""
    prompt_path: str | None = None
    """Where the prompt is written in the copy; by default where it stands in `repo`, else AGENTS.md."""
    check: str | tuple[str, ...] = ()
    """Run afterwards in the copy, such as `pytest -q`; it alone sees expected answers."""
    junit: str | None = None
    """Where the check leaves a JUnit file, in the copy."""
    timeout_s: float = Field(600, gt=0)
    """Seconds for the command, and as many for the check."""
    env: tuple[str, ...] = ()
    """Names of environment variables that the command gets, such as its model's key; the check gets none."""
    cwd: str = "."
    """Folder of the copy in which both run."""
    output_bytes: int = Field(200_000, ge=1000)
    """Of the command's output that are kept; the middle of a longer one is left out."""
    network: bool = True
    """False: no network but its own loopback; Linux only."""
    shell: bool = False
    """Give `command` and `check`, each a line then, to /bin/sh."""
    git: bool = False
    """Make each copy a git repository of its own, with one commit."""
    limits: ProcessLimitsConfig = ProcessLimitsConfig()
    """What each process may take."""
    version: str | int = ""
    """Change it with whatever changes the command and stands neither in its words, nor in files that they name, nor in
    `repo`, so that what the old one did is not found again."""

    @model_validator(mode="after")
    def _says_something(self) -> ProgramConfig:
        if self.shell and not (isinstance(self.command, str) and isinstance(self.check or "", str)):
            raise ValueError("with shell: true, command and check are lines of text, not lists of words")
        if not any(word.strip() for word in self.words(self.command)):
            raise ValueError("command is empty; name a program and its arguments, such as [python, agent.py]")
        self.words(self.check)
        return self

    def words(self, line: str | tuple[str, ...]) -> tuple[str, ...]:
        """A command or check as the words that are run. Raises ValueError for a line that is not closed."""
        if not isinstance(line, str) or not line.strip():
            return tuple(line)
        return ("/bin/sh", "-c", line) if self.shell else tuple(shlex.split(line))

    def resolve(self, folder: Path) -> ProgramConfig:
        """The same with absolute paths."""
        repo = None if self.repo is None else folder / self.repo
        update: dict[str, Any] = {"repo": repo}
        if not self.shell:
            for key, line in (("command", self.command), ("check", self.check)):
                update[key] = tuple(_beside(word, folder, repo) for word in self.words(line))
        return self.model_copy(update=update)


def _beside(word: str, folder: Path, repo: Path | None) -> str:
    """The file beside the configuration that a word names, unless the repository has one of that name."""
    is_file = bool(word.strip("./")) and (folder / word).is_file()
    return str(folder / word) if is_file and not (repo is not None and (repo / word).exists()) else word


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
    reviews: Annotated[Path | ReviewsConfig | None, BeforeValidator(lambda value: _reviews(value))] = None
    """JSON list of reviewers' comments, `store`, or an object; only approved ones by trusted authors are used."""
    judges: tuple[NamedJudge, ...] = ()
    """By default `label_set` where the expected values are labels, else `correctness` or `normalized_match`."""
    search: SearchConfig = SearchConfig()
    """How to look for a better prompt."""
    budget: BudgetConfig = BudgetConfig()
    """What it may take."""
    program: ProgramConfig | None = None
    """A command that answers instead of `models.task`."""
    store: str | None = None
    """SQLAlchemy URL or path; by default .promptlearn/store.db in the working directory."""

    @model_validator(mode="before")
    @classmethod
    def _command_answers(cls, content: Any) -> Any:
        models = content.get("models", {}) if isinstance(content, dict) and content.get("program") else None
        return {**content, "models": {"task": COMMAND, **models}} if isinstance(models, dict) else content

    @model_validator(mode="after")
    def _one_answers(self) -> Config:
        if self.program is None and self.models.task.model == COMMAND:
            raise ValueError("`models.task` is `command`, and there is no `program` that says which")
        if self.program is not None and self.models.task.model != COMMAND:
            raise ValueError("`models.task` is not asked where `program` runs a command; leave it out")
        return self

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
        if isinstance(self.reviews, Path):
            update["reviews"] = folder / self.reviews
        if self.store is not None and "://" not in self.store:
            update["store"] = str(folder / self.store)
        if self.program is not None:
            update["program"] = self.program.resolve(folder)
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
    missing = f"no configuration at {path}; make one with `promptlearn init`, or name yours with --config"
    content = read_mapping(path, missing, "it needs the keys prompt, data and models (see `promptlearn init`)")
    return parse_config(with_overrides(content, overrides), str(path)).resolve(path.resolve().parent)


def read_mapping(path: Path, missing: str, needs: str) -> dict[str, Any]:
    """The keys of a YAML file. Raises ConfigError: `missing` where it is not there, `needs` where it has no keys."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(missing) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} can not be read: {reason}; name a YAML file") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        holds = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ConfigError(f"{path} {holds}; {needs}")
    return content


def with_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """The same document with `KEY=VALUE` pairs put in."""
    changed = copy.deepcopy(content)
    for override in overrides:
        _override(changed, override)
    return changed


def parse_config(content: dict[str, Any], where: str = "configuration") -> Config:
    """Check a configuration that is already in memory; paths stay as they are."""
    return parse_section(Config, content, where)


def parse_section(section: type[S], content: dict[str, Any], where: str) -> S:
    """Check a file that people write, whose keys are those of `section`. Raises ConfigError naming keys."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        problems = {_place(problem): problem for problem in reversed(error.errors(include_url=False))}
        words = [_explain(problem, section) for problem in reversed(problems.values())]
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


def _explain(problem: Any, root: type[Section]) -> str:
    place = list(_place(problem))
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(place, root)
        close = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}" if known else ""
        return f"unknown key `{key}`{hint}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    given = problem["input"]
    shown = f", not {given!r:.60}" if given is None or isinstance(given, str | int | float) else ""
    wanted = _WANTED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "model_type":
        wanted += f": {', '.join(_keys_beside([*place, ''], root))}"
    return f"`{key}`: {wanted}{shown}" if key else f"{wanted}{shown}"


def _keys_beside(place: list[str], root: type[Section]) -> list[str]:
    """Keys that the section of `place` knows."""
    section: Any = root.model_json_schema()
    definitions = section.get("$defs", {})
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
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"`--set {override}`: the value is not YAML; put it in quotes: {key}='\"…\"'") from None
    put_key(content, key, parsed, f"--set {override}")


def put_key(content: dict[str, Any], key: str, value: Json, said: str) -> None:
    """Set a dotted key of a document. Raises ConfigError quoting what was `said` where the way there is no section."""
    *path, last = key.split(".")
    node = content
    for part in path:
        below = node.get(part)
        if isinstance(below, str) and part in {"prompt", "task", "judge", "meta"}:
            below = {"file" if part == "prompt" else "model": below}
        node[part] = below = {} if below is None else below
        if not isinstance(below, dict):
            raise ConfigError(f"`{said}`: `{part}` holds a value, not keys")
        node = below
    node[last] = value


def json_schema() -> dict[str, Any]:
    """JSON Schema of `promptlearn.yaml`, for editors (committed at docs/promptlearn.schema.json)."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": DEFAULT_CONFIG, **schema}
