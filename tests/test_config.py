"""`promptlearn.yaml`: errors name the key, defaults are the documented ones, paths are relative to the file."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.config import Config, SearchConfig, load_config, parse_config, with_overrides
from promptlearn.errors import ConfigError

SMALL: dict[str, Any] = {"prompt": "p.md", "data": {"file": "t.csv"}, "models": {"task": "openai/m"}}


def write(folder: Path, content: Any = SMALL) -> Path:
    path = folder / "promptlearn.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def refused(content: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_overrides(content, overrides))
    return str(caught.value)


def test_three_keys_are_enough() -> None:
    config = parse_config(SMALL)
    assert config.prompt.file == Path("p.md")
    assert config.models.task.model == "openai/m"
    assert (config.data.split.train, config.data.split.validation, config.data.split.test) == (0.4, 0.3, 0.3)
    assert (config.search.concurrency, config.search.seed, config.search.proposers) == (16, 0, None)
    assert config.budget.task_calls == 1000
    assert config.budget.usd is None
    assert config.judges == ()


def test_the_shape_of_the_documentation_is_understood() -> None:
    text = """
    prompt: {file: prompts.yaml, key: support.system}
    data:
      file: data/tickets.csv
      inputs: {text: message}
      expected: label
      group: customer
      split: {train: 0.4, validation: 0.3, test: 0.3}
    models:
      task: {model: openai/my-model, base_url: "http://127.0.0.1:8000/v1", api_key_env: MY_KEY, max_tokens: 16}
      judge: openai/gpt-5-mini
      meta: openai/gpt-5
    judges: [label_set, {use: judges/tone.yaml, veto: true}]
    search: {proposers: [rewrite, edit, rules, demos], concurrency: 16, seed: 0}
    budget: {usd: 5, task_calls: 400, tokens: 2000000, minutes: 30}
    """
    config = parse_config(yaml.safe_load(text))
    assert config.prompt.key == "support.system"
    assert config.data.inputs == {"text": "message"}
    assert [(judge.use, judge.veto) for judge in config.judges] == [("label_set", False), ("judges/tone.yaml", True)]
    assert config.models.meta is not None
    assert config.search.proposers == ("rewrite", "edit", "rules", "demos")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.sed=1", "unknown key `search.sed`; did you mean `seed`?"),
        ("budgett.usd=1", "unknown key `budgett`; did you mean `budget`?"),
        ("models.task.max_token=1", "unknown key `models.task.max_token`; did you mean `max_tokens`?"),
        ("models.judges=x", "unknown key `models.judges`; did you mean `judge`?"),
        ("judges=[{use: tone, vetoo: 1}]", "unknown key `judges.0.vetoo`; did you mean `veto`?"),
        ("data.zzz=1", "unknown key `data.zzz`; known here: file, inputs, expected"),
        ("search.seed=many", "`search.seed`: Input should be a valid integer"),
        ("search.concurrency=0", "`search.concurrency`: Input should be greater than or equal to 1, not 0"),
        (
            "search.proposers=[rewriter]",
            "`search.proposers.0`: Input should be 'rewrite', 'edit', 'rules', 'demos', 'prune' or 'merge'",
        ),
        ("search.proposers=[]", "`search.proposers`"),
        ("data.split.train=0.9", "`data.split`: train, validation and test add up to 1.5, not 1"),
        ("data.inputs=message", "`data.inputs`: Input should be a list, such as [a, b], not 'message'"),
        ("judges=label_set", "`judges`: Input should be a list, such as [a, b], not 'label_set'"),
        ("models=null", "`models`: Input should hold keys: task, judge, meta, not None"),
        ("data=t.csv", "`data`: Input should hold keys: file, inputs,"),
        ("models.task=5", "`models.task`: Input should hold keys: model, base_url,"),
        ("budget.usd=-1", "`budget.usd`: Input should be greater than 0, not -1"),
    ],
)
def test_an_error_names_the_key_and_what_is_possible(override: str, words: str) -> None:
    message = refused(SMALL, override)
    assert words in message
    assert "\n" not in message
    assert "tuple[" not in message


def test_missing_keys_are_all_named() -> None:
    assert refused({"prompt": "p.md"}) == "configuration: `data` is missing; `models` is missing"


def test_overrides_are_yaml_and_reach_any_depth() -> None:
    changes = (
        "search.seed=3",
        "search.proposers=[demos]",
        "budget.usd=0.5",
        "data.split={column: part}",
        "reviews=r.json",
    )
    config = parse_config(with_overrides(SMALL, changes))
    assert (config.search.seed, config.search.proposers, config.budget.usd) == (3, ("demos",), 0.5)
    assert config.data.split.column == "part"
    assert config.reviews == Path("r.json")
    assert SMALL["data"] == {"file": "t.csv"}


def test_a_plain_name_takes_further_keys() -> None:
    config = parse_config(with_overrides(SMALL, ("models.task.max_tokens=16", "prompt.key=a.b")))
    assert (config.models.task.model, config.models.task.max_tokens) == ("openai/m", 16)
    assert (config.prompt.file, config.prompt.key) == (Path("p.md"), "a.b")


@pytest.mark.parametrize("override", ["search.seed", "=3", "data.file.x=3", "search.seed=["])
def test_an_override_that_is_none_is_quoted(override: str) -> None:
    assert override in refused(SMALL, override)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    content = SMALL | {
        "models": {"task": "scripted/m.yaml", "judge": "local/w/j.gguf", "meta": "local/smollm2-135m-instruct"},
        "judges": ["label_set", "my/tone.yaml", "judges.mine:score"],
        "reviews": "r.json",
        "store": "kept/s.db",
    }
    config = load_config(write(tmp_path, content))
    assert config.prompt.file == tmp_path / "p.md"
    assert config.data.file == tmp_path / "t.csv"
    assert config.reviews == tmp_path / "r.json"
    assert config.store == str(tmp_path / "kept/s.db")
    assert [judge.use for judge in config.judges] == ["label_set", str(tmp_path / "my/tone.yaml"), "judges.mine:score"]
    models = config.models
    assert models.judge is not None
    assert models.meta is not None
    assert models.task.model == f"scripted/{tmp_path / 'm.yaml'}"
    assert models.judge.model == f"local/{tmp_path / 'w/j.gguf'}"
    assert models.meta.model == "local/smollm2-135m-instruct"


def test_absolute_paths_and_urls_stay(tmp_path: Path) -> None:
    content = SMALL | {"prompt": "/abs/p.md", "store": "postgresql://me@host/db"}
    config = load_config(write(tmp_path, content))
    assert config.prompt.file == Path("/abs/p.md")
    assert config.store == "postgresql://me@host/db"


def test_what_is_stored_with_a_run_reads_back_as_it_was(tmp_path: Path) -> None:
    config = load_config(write(tmp_path), ("judges=[{use: contains, options: {text: '{x}'}}]",))
    assert parse_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty; it needs the keys prompt, data and models"),
        (b"- a\n", "holds a list"),
        (b"a: [\n", "is not YAML: line 2, column 1: "),
        (b"a: !!python/object:os.system x\n", "is not YAML: line 1"),
        (b"prompt: caf\xe9\n", "can not be read: it is not UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / "promptlearn.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "promptlearn.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8-sig")
    assert load_config(path).models.task.model == "openai/m"


@given(seed=st.integers(), alpha=st.floats(0.001, 0.999), rounds=st.integers(0, 10**6))
def test_settings_survive_the_way_through_a_file(seed: int, alpha: float, rounds: int) -> None:
    search = SearchConfig(seed=seed, alpha=alpha, rounds=rounds)
    text = yaml.safe_dump(SMALL | {"search": search.model_dump(mode="json")})
    assert parse_config(yaml.safe_load(text)).search == search


def test_nothing_changes_a_configuration_that_is_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(SMALL).search.seed = 1  # type: ignore[misc]


def test_every_section_forbids_unknown_keys() -> None:
    definitions = Config.model_json_schema()["$defs"]
    assert all(definition["additionalProperties"] is False for definition in definitions.values())
