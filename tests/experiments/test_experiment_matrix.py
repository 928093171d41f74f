"""From experiments.yaml to experiments: combinations, names, and errors that name the key."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import experiments, names, write_lab

from promptlearn.errors import ConfigError


def test_names_come_from_the_values_of_the_axes(tmp_path: Path) -> None:
    matrix = {"prompts": ["prompts/short.md", "prompts/long.md"], "optimizers": ["demos", ["rules", "demos"]]}
    path = write_lab(tmp_path, matrix=matrix | {"seeds": [0, 7]})
    assert names(path) == [
        f"{prompt}/{optimizer}/seed={seed}"
        for prompt in ("short", "long")
        for optimizer in ("demos", "rules+demos")
        for seed in (0, 7)
    ]
    first, last = experiments(path)[0], experiments(path)[-1]
    assert first.axes == {"prompts": "short", "optimizers": "demos", "seeds": "seed=0"}
    assert first.config.prompt.file == tmp_path / "prompts/short.md"
    assert (last.config.search.proposers, last.config.search.seed) == (("rules", "demos"), 7)


def test_an_axis_with_one_value_is_in_no_name(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"prompts": "prompts/short.md", "seeds": [3]})
    (only,) = experiments(path)
    assert (only.name, only.config.search.seed) == ("short", 3)


def test_without_a_matrix_the_base_is_the_experiment(tmp_path: Path) -> None:
    assert names(write_lab(tmp_path)) == ["long"]


def test_patterns_stand_for_files(tmp_path: Path) -> None:
    assert names(write_lab(tmp_path, matrix={"prompts": ["prompts/*.md"]})) == ["gruff", "long", "short"]
    assert names(write_lab(tmp_path), "prompt.file=prompts/[ls]*.md") == ["long", "short"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    path = write_lab(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/long.md").write_text("Hello.")
    assert names(path, "matrix.prompts=[prompts/long.md, other/long.md]") == ["prompts.long", "other.long"]


def test_measuring_a_prompt_does_not_depend_on_the_search(tmp_path: Path) -> None:
    """`none` appears once, whatever seeds and settings of the search there are."""
    matrix = {"optimizers": ["none", "demos"], "seeds": [0, 1], "search.drafts": [2, 4]}
    found = experiments(write_lab(tmp_path, matrix=matrix))
    assert [one.name for one in found if not one.learns] == ["none"]
    assert len(found) == 1 + 4
    assert found[1].name == "demos/seed=0/drafts=2"


def test_exclude_leaves_combinations_out(tmp_path: Path) -> None:
    matrix = {"prompts": "prompts/*.md", "optimizers": ["none", "demos"], "seeds": [0, 1]}
    exclude = [{"prompts": ["short", "prompts/gruff.md"], "optimizers": "demos"}, {"seeds": 1}]
    path = write_lab(tmp_path, matrix=matrix, exclude=exclude)
    assert names(path) == ["gruff/none", "long/none", "long/demos/seed=0", "short/none"]


def test_include_adds_experiments_with_keys_of_their_own(tmp_path: Path) -> None:
    matrix = {"models": {"cheap": "openai/small", "good": {"task": "openai/big", "meta": "openai/bigger"}}}
    include = [
        {"name": "long search", "models": "good", "search.rounds": 9, "budget.task_calls": 77},
        {"optimizers": "none", "prompts": "prompts/gruff.md"},
    ]
    found = {one.name: one for one in experiments(write_lab(tmp_path, matrix=matrix, include=include))}
    assert list(found) == ["cheap", "good", "long-search", "none/gruff"]
    extra = found["long-search"]
    assert extra.config.models.task.model == "openai/big"
    assert extra.config.models.meta is not None
    assert (extra.config.search.rounds, extra.config.budget.task_calls) == (9, 77)
    assert extra.own_caps == {"task_calls"}
    assert not found["none/gruff"].learns


def test_a_role_s_model_replaces_only_that_role(tmp_path: Path) -> None:
    matrix = {"models": ["openai/a", {"model": "openai/b", "temperature": 0.5}, {"judge": "openai/c"}]}
    a, b, c = experiments(write_lab(tmp_path, matrix=matrix))
    assert (a.config.models.task.model, b.config.models.task.temperature) == ("openai/a", 0.5)
    assert c.config.models.task.model == "openai/fixed"
    assert c.config.models.judge is not None


def test_the_base_may_be_a_file_whose_paths_are_its_own(tmp_path: Path) -> None:
    inline = yaml.safe_load(write_lab(tmp_path / "shop").read_text())
    (tmp_path / "shop/promptlearn.yaml").write_text(yaml.safe_dump(inline["base"]))
    (tmp_path / "mine.md").write_text("Hello.")
    path = tmp_path / "experiments.yaml"
    path.write_text(yaml.safe_dump({"base": "shop/promptlearn.yaml", "matrix": {"prompts": ["mine.md"]}}))
    (only,) = experiments(path)
    assert only.config.data.file == tmp_path / "shop/tickets.jsonl"
    assert only.config.reviews == tmp_path / "shop/reviews.json"
    assert only.config.prompt.file == tmp_path / "mine.md"


def test_set_changes_the_file_or_the_base(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"seeds": [0, 1]})
    (only,) = experiments(path, "matrix.seeds=[5]", "search.rounds=3", "base.models.task.max_tokens=4")
    assert (only.config.search.seed, only.config.search.rounds) == (5, 3)
    assert only.config.models.task.max_tokens == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrx": {}}, "unknown key `matrx`; did you mean `matrix`?"),
        ({"matrix": {"optimisers": ["demos"]}}, "unknown axis `optimisers`; did you mean `optimizers`?"),
        ({"matrix": {"search.draft": [1]}}, "unknown key `search.draft`; did you mean `drafts`?"),
        ({"matrix": {"search.concurrency": [1, 2]}}, "set `concurrency` at the top of the file"),
        ({"matrix": {"seeds": [0], "search.seed": [1]}}, "change the same key, search.seed"),
        ({"matrix": {"seeds": []}}, "the axis `seeds` has no value"),
        ({"matrix": {"seeds": [1, 1]}}, "two values of `seeds` are called 'seed=1'"),
        ({"matrix": {"datasets": {"file": "tickets.jsonl"}}}, "put [ ] around"),
        ({"matrix": {"prompts": "prompts/*.txt"}}, "matches prompts/*.txt"),
        ({"matrix": {"seeds": [0, 1]}, "exclude": [{"seeds": 2}]}, "2 is no value of `seeds`: seed=0, seed=1"),
        ({"matrix": {"seeds": [0, 1]}, "exclude": [{"sedes": 1}]}, "`sedes` is no axis of the matrix: seeds"),
        ({"matrix": {"seeds": [0]}, "exclude": [{"seeds": 0}]}, "leaves no experiment"),
        ({"matrix": {"seeds": ["x"]}}, "`search.seed`"),
        ({"matrix": {"seeds": list(range(200)), "search.drafts": list(range(1, 61))}}, "12000 combinations"),
        ({"include": [{"name": "a", "seeds": 1}, {"name": "a", "seeds": 2}]}, "two experiments are called 'a'"),
        ({"fail_on": ["worse"]}, "`fail_on.0`"),
        ({"base": "nowhere.yaml"}, "`base`: no configuration at"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_lab(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        experiments(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_axis_is_not_set_from_the_command_line(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"seeds": [0, 1]})
    with pytest.raises(ConfigError, match="`seeds` is an axis of the matrix"):
        experiments(path, "search.seed=3")
