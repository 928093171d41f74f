"""One budget for many experiments (invariant 1), whichever runs faster (invariant 8), and shards of them."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import experiments, write_lab

from promptlearn.config import Config, parse_config
from promptlearn.errors import ConfigError, UsageError
from promptlearn.experiments import open_batch
from promptlearn.experiments.file import SharedBudgetConfig
from promptlearn.experiments.matrix import Experiment, caps
from promptlearn.experiments.plan import in_shard, parse_shard
from promptlearn.experiments.shares import share_out


def config(prompt: str = "p.md", **budget: float) -> Config:
    return parse_config({"prompt": prompt, "data": {"file": "d.csv"}, "models": {"task": "openai/m"}, "budget": budget})


def experiment(name: str, own: frozenset[str] = frozenset(), prompt: str = "p.md", **budget: float) -> Experiment:
    return Experiment(name, {}, config(prompt, **budget), learns=True, own_caps=own)


def test_every_experiment_gets_the_same_share() -> None:
    shared = SharedBudgetConfig(usd=10, calls=1000, tokens=500)
    dealt = share_out(shared, [experiment(str(number)) for number in range(3)], at_once=8)
    assert {(one.config.budget.calls, one.config.budget.tokens) for one in dealt} == {(333, 166)}
    assert [one.config.budget.usd for one in dealt] == [pytest.approx(10 / 3)] * 3
    assert {one.config.budget.task_calls for one in dealt} == {1000}  # the default of every run


def test_the_common_task_calls_replace_the_default_and_not_a_lower_cap() -> None:
    dealt = share_out(SharedBudgetConfig(task_calls=9000), [experiment("a"), experiment("b", task_calls=70)], 8)
    assert [one.config.budget.task_calls for one in dealt] == [4500, 70]


def test_what_an_experiment_has_for_itself_comes_off_first() -> None:
    whole = [experiment("a", frozenset({"calls"}), calls=700), experiment("b"), experiment("c")]
    assert [one.config.budget.calls for one in share_out(SharedBudgetConfig(calls=1000), whole, 8)] == [700, 150, 150]


@pytest.mark.parametrize(
    ("total", "message"),
    [(100, "for themselves, more than the 100 of all"), (701, "leaves 1 for 2 experiments")],
)
def test_a_budget_that_can_not_be_divided_is_refused(total: int, message: str) -> None:
    whole = [experiment("a", frozenset({"calls"}), calls=700), experiment("b"), experiment("c")]
    with pytest.raises(ConfigError, match=message):
        share_out(SharedBudgetConfig(calls=total), whole, 8)


def test_minutes_are_those_of_the_clock() -> None:
    """Ten experiments, four at a time: three one after the other."""
    dealt = share_out(SharedBudgetConfig(minutes=60), [experiment(str(number)) for number in range(10)], at_once=4)
    assert {one.config.budget.minutes for one in dealt} == {20}


@given(
    total=st.floats(0.01, 1e5),
    calls=st.integers(100, 10_000),
    own=st.lists(st.floats(1e-6, 1e-3), max_size=5),
    others=st.integers(1, 40),
)
def test_shares_never_add_up_to_more_than_the_whole(total: float, calls: int, own: list[float], others: int) -> None:
    """Invariant 1, to the last bit."""
    whole = [experiment(f"own {n}", frozenset({"usd"}), usd=cap) for n, cap in enumerate(own)]
    whole += [experiment(str(number)) for number in range(others)]
    dealt = share_out(SharedBudgetConfig(usd=total, calls=calls), whole, 8)
    usd = [caps(one.config.budget.model_dump())["usd"] for one in dealt]
    assert sum(map(Fraction, usd)) <= Fraction(total)
    assert sum(one.config.budget.calls or calls + 1 for one in dealt) <= calls


@given(prompts=st.lists(st.integers(0, 6), min_size=1, max_size=40), count=st.integers(1, 9))
def test_shards_are_a_partition(prompts: list[int], count: int) -> None:
    whole = [experiment(str(at), prompt=f"{prompt}.md") for at, prompt in enumerate(prompts)]
    shards = [in_shard(whole, number, count) for number in range(1, count + 1)]
    assert sorted(one.name for shard in shards for one in shard) == sorted(one.name for one in whole)
    if len(set(prompts)) >= count:
        where = [{one.config.prompt.file for one in shard} for shard in shards]
        assert sum(map(len, where)) == len(set(prompts)), "a prompt's experiments share calls and stay together"
    else:
        assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_is_i_of_n(text: str) -> None:
    with pytest.raises(UsageError, match="is not i/n"):
        parse_shard(text)


def test_shares_do_not_depend_on_which_experiments_are_chosen(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"seeds": [0, 1, 2, 3]}, budget={"calls": 4000})
    assert len(experiments(path)) == 4
    for chosen in ({"only": ["seed=2"]}, {"shard": "1/2"}, {}):
        with open_batch(path, **chosen) as batch:
            assert {entry.job.budget.calls for entry in batch.entries} == {1000}
