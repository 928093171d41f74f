"""The public surface, and the Python API with everything that it accepts."""

import inspect
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from chat_server import Answer, ChatServer, completion

import promptlearn
from promptlearn import (
    Budget,
    Dataset,
    ExactMatch,
    Example,
    JudgeSpec,
    LabelSet,
    Limits,
    Message,
    Prompt,
    Rollout,
    RunResult,
    ScriptedModel,
)
from promptlearn.config import ScoringConfig
from promptlearn.errors import AssetError, ConfigError, DataError, PromptError, TooManyErrors
from promptlearn.judging import Callable
from promptlearn.records import Role

COLUMNS: dict[str, Any] = {"inputs": ["message"], "expected": "tag"}


def learn(folder: Path, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = COLUMNS | {
        "prompt": synthetic.SEED,
        "data": synthetic.rows(120),
        "task": synthetic.task_model(),
        "reviews": synthetic.house_rules(),
        "store": folder / "store.db",
    }
    return promptlearn.optimize(**(arguments | changes))


def test_every_public_name_is_there_and_listed() -> None:
    for name in promptlearn.__all__:
        assert getattr(promptlearn, name) is not None
    assert set(promptlearn.__all__) <= set(dir(promptlearn))
    assert promptlearn.models.ScriptedModel is promptlearn.ScriptedModel
    assert list(promptlearn.__all__) == sorted(promptlearn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        _ = promptlearn.optimise


def test_what_issue_and_readme_name_is_public() -> None:
    named = "optimize aoptimize evaluate aevaluate Prompt load_dataset Judge Budget Model ScriptedModel"
    judges = "ExactMatch NormalizedMatch LabelSet Regex Contains JsonSchema Numeric"
    assert {*named.split(), *judges.split()} <= set(promptlearn.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The names under TYPE_CHECKING are those that are imported when they are used."""
    source = inspect.getsource(promptlearn)
    shown = {line.split(" as ")[1] for line in source.splitlines() if line.startswith("    from ") and " as " in line}
    assert shown | {"__version__"} == set(promptlearn.__all__)


def test_import_costs_next_to_nothing() -> None:
    code = "import promptlearn, sys; print([m for m in ('pydantic', 'sqlalchemy', 'aiohttp') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert shown.stdout == "[]\n"


def test_the_async_twins_take_the_same_arguments() -> None:
    for name in ("optimize", "evaluate"):
        assert inspect.signature(getattr(promptlearn, name)) == inspect.signature(getattr(promptlearn, f"a{name}"))


def test_a_function_can_be_the_model(tmp_path: Path) -> None:
    result = learn(tmp_path, task=synthetic.answer)
    assert result.decision == "improved"
    assert result.usage["task"].calls > 0


def test_replies_of_a_function_are_not_those_of_another(tmp_path: Path) -> None:
    """Two functions of one name share a journal, and not their replies."""

    def scores(reply: str) -> float | None:
        def answer(messages: Sequence[Message]) -> str:
            return reply

        rows = synthetic.rows(60)
        return promptlearn.evaluate("Hi.", rows, task=answer, store=tmp_path / "s.db", **COLUMNS).measure.score

    assert scores("nonsense") == 0.0
    assert scores("shipping") != 0.0


def test_every_kind_of_table_gives_the_same_run(tmp_path: Path) -> None:
    rows = synthetic.rows(120)
    file = tmp_path / "rows.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    tables = [rows, pd.DataFrame(rows), file, str(file), promptlearn.load_dataset(rows, **COLUMNS)]
    digests = set()
    for number, table in enumerate(tables):
        columns = {"inputs": None, "expected": None} if isinstance(table, Dataset) else {}
        result = learn(tmp_path / str(number), data=table, **columns)
        digests.add((result.best_digest, result.delta.score, result.decision))
    assert len(digests) == 1


def test_every_kind_of_prompt_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "prompt.md"
    file.write_text(synthetic.SEED + "\n", encoding="utf-8")
    results = [
        learn(tmp_path / str(n), prompt=p) for n, p in enumerate((Prompt.of(synthetic.SEED), synthetic.SEED, file))
    ]
    assert [result.decision for result in results] == ["improved"] * 3
    assert [Path(str(result.best_path)).suffix for result in results] == [".yaml", ".yaml", ".md"]
    assert file.read_text(encoding="utf-8") == synthetic.SEED + "\n"


def test_every_kind_of_judge_is_accepted(tmp_path: Path) -> None:
    def starts_alike(example: Example, rollout: Rollout) -> float:
        return float(rollout.output[:1] == str(example.expected)[:1])

    judges: list[Any] = [
        "label_set",
        starts_alike,
        ExactMatch(),
        JudgeSpec(LabelSet(sorted(synthetic.TAGS.values()), name="tags"), weight=2.0, veto=True),
    ]
    measured = promptlearn.evaluate(
        "Answer with one tag. parcel shipping",
        synthetic.rows(60),
        task=synthetic.task_model(),
        judges=judges,
        store=tmp_path / "s.db",
        **COLUMNS,
    )
    names = {verdict.name for row in measured.rows for verdict in row.verdicts}
    assert names == {"label_set", "starts_alike", "exact_match", "tags"}
    right = sum(row.example.expected == "shipping" for row in measured.rows)
    assert measured.measure.score == pytest.approx(right / 60)


def test_no_partial_credit_and_a_gold_judge_that_counts_for_nothing(tmp_path: Path) -> None:
    def half(example: Example, rollout: Rollout) -> tuple[float, str]:
        return 0.6, "half of it"

    def never(example: Example, rollout: Rollout) -> bool:
        return False

    def score(**scoring: Any) -> float | None:
        measured = promptlearn.evaluate(
            synthetic.SEED,
            synthetic.rows(30),
            task=synthetic.task_model(),
            judges=[half, JudgeSpec(Callable(never, "never"), gold=True)],
            scoring=ScoringConfig(**scoring),
            split="validation",
            store=tmp_path / "s.db",
            **COLUMNS,
        )
        assert {verdict.name for row in measured.rows for verdict in row.verdicts if verdict.gold} == {"never"}
        return measured.measure.score

    assert score() == pytest.approx(0.6)
    assert score(all_pass=True) == 1.0


def test_evaluate_reads_one_split_or_all(tmp_path: Path) -> None:
    data = promptlearn.load_dataset(synthetic.rows(60), **COLUMNS)
    task = synthetic.task_model()
    for split, rows in ((None, 60), ("train", len(data.train)), ("test", len(data.test))):
        measured = promptlearn.evaluate("Hi.", data, task=task, split=split, store=tmp_path / "s.db")  # type: ignore[arg-type]
        assert (measured.measure.n, measured.measure.errors) == (rows, 0)
        assert all(row.verdicts[0].explanation for row in measured.rows)


def test_an_evaluation_needs_no_budget_for_a_search(tmp_path: Path) -> None:
    budget = Budget(task_calls=60)
    rows = synthetic.rows(60)
    measured = promptlearn.evaluate(
        "Hi.", rows, task=synthetic.answer, budget=budget, store=tmp_path / "s.db", **COLUMNS
    )
    assert measured.usage["task"].calls == 60


async def test_both_twins_work_where_a_loop_is_running(tmp_path: Path) -> None:
    """As in a notebook."""
    arguments: dict[str, Any] = COLUMNS | {"task": synthetic.task_model(), "store": tmp_path / "s.db"}
    sync = promptlearn.evaluate("Hi.", synthetic.rows(60), **arguments)
    twin = await promptlearn.aevaluate("Hi.", synthetic.rows(60), **arguments)
    assert sync.measure == twin.measure
    assert twin.usage["task"].calls == 0
    assert learn(tmp_path).decision == "improved"


def test_settings_of_the_search_are_keywords(tmp_path: Path) -> None:
    assert learn(tmp_path, rounds=0).stop_reason == "rounds"
    with pytest.raises(ConfigError, match="unknown arguments round; settings of the search are: optimizer, conc"):
        learn(tmp_path, round=1)
    with pytest.raises(ConfigError, match="concurrency"):
        learn(tmp_path, concurrency=0)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"expected": "label"}, DataError, "no column 'label'; columns: message, tag"),
        ({"data": []}, DataError, "no rows"),
        ({"data": 5}, DataError, "a int is no table; give a path, a DataFrame or a list of dicts"),
        ({"prompt": "Classify {text}."}, PromptError, "prompt variable {text} has no column; columns: message"),
        ({"prompt": Path("nowhere.md")}, PromptError, "no such file"),
        ({"prompt": __file__}, ConfigError, "is a file here; give Path("),
        ({"budget": {"task_calls": 9}}, ConfigError, "such as Budget(task_calls=800), not a dict"),
        ({"judges": ["label_sett"]}, AssetError, "no judge 'label_sett'"),
        ({"judges": ["tone"]}, ConfigError, "judge tone needs models.judge"),
        ({"task": "nobody/knows"}, ConfigError, "knows no provider 'nobody'; known are"),
        ({"proposers": ["rewrite"]}, ConfigError, "rewrite needs a language model"),
        ({"proposers": ["rewriter"]}, ConfigError, "no proposer 'rewriter'"),
        ({"expected": None}, ConfigError, "nothing says what a good answer is"),
    ],
)
def test_what_the_caller_can_mend_is_said_before_the_first_call(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    model = synthetic.task_model()
    with pytest.raises(kind) as caught:
        learn(tmp_path, **({"task": model} | changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert model.calls == []


def test_a_judge_that_raises_is_a_record_and_then_a_stop(tmp_path: Path) -> None:
    """Invariant 4."""

    def broken(example: Example, rollout: Rollout) -> float:
        raise RuntimeError("no idea")

    with pytest.raises(TooManyErrors, match="no idea"):
        learn(tmp_path, judges=[broken])


def test_a_model_of_the_users_own_needs_only_the_protocol(tmp_path: Path) -> None:
    class Echo:
        name = "echo"
        identity = "echo/1"
        sampling = promptlearn.Sampling()
        price = promptlearn.Price(0, 0)

        async def complete(
            self, messages: Sequence[Message], sampling: Any = None, schema: Any = None, repeat: int = 0
        ) -> promptlearn.Reply:
            return promptlearn.Reply(text=messages[-1].content)

        async def close(self) -> None:
            pass

    rows = [{"text": f"word {n}", "same": f"word {n}"} for n in range(40)]
    measured = promptlearn.evaluate(
        "Repeat.", rows, task=Echo(), inputs=["text"], expected="same", judges=["exact_match"], store=tmp_path / "s.db"
    )
    assert measured.measure.score == 1.0


def test_the_readme_example_runs(tmp_path: Path) -> None:
    """Its call as it stands, with the shipped fake for the two models."""
    task = synthetic.task_model()
    meta = ScriptedModel(lambda messages: "<prompt>You help our shop.</prompt>", identity="meta")
    result = promptlearn.optimize(
        synthetic.SEED,
        synthetic.rows(120),
        inputs=["message"],
        expected="tag",
        task=task,
        meta=meta,
        judges=["label_set"],
        budget=promptlearn.Budget(task_calls=2000),
        store=tmp_path / "s.db",
    )
    assert result.baseline.score == 0.0
    assert result.best_path is not None
    learned = promptlearn.read_prompt(result.best_path).prompt
    assert learned.demonstrations == result.prompt.demonstrations
    assert any(demo.effect for demo in learned.demonstrations)
    assert result.usage["meta"].calls == len(meta.calls) > 0


def test_limits_say_how_fast_a_model_may_be_asked(tmp_path: Path) -> None:
    rows = [{"message": f"message {number}", "tag": "a"} for number in range(12)]
    limits: Mapping[Role, Limits] = {"task": Limits(rpm=600)}
    with ChatServer(lambda body: Answer(completion("a"))).in_thread() as url:
        task = promptlearn.open_model("openai/any", base_url=url)
        began = time.monotonic()
        promptlearn.evaluate("Be brief.", rows, task=task, limits=limits, store=tmp_path / "s.db", **COLUMNS)
        assert time.monotonic() - began > 1  # eleven times a tenth of a second, after the first
