"""People's labels: from a table, from a run's human verdicts, or from what was settled in the store.

Knows tables, the store, the words that people use for pass and fail, and from which score on a judge passes; asks none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from promptlearn.dataset.rows import Row, open_table
from promptlearn.dataset.values import to_json
from promptlearn.errors import DataError
from promptlearn.judging import Callable, Judge, LLMJudge
from promptlearn.judging.asset import Scale
from promptlearn.judging.checks import check_examples
from promptlearn.records import Example, Json, Rollout, Verdict, as_text, fingerprint
from promptlearn.redaction import redact
from promptlearn.store import Store
from promptlearn.store.judge_rows import HumanLabel, score_word

PASS, FAIL = "pass", "fail"
_WORDS = {
    **dict.fromkeys(("pass", "passed", "yes", "true", "good", "right", "ok", "accept"), PASS),
    **dict.fromkeys(("fail", "failed", "no", "false", "bad", "wrong", "reject"), FAIL),
}
_FLAGS = {**dict.fromkeys(("1", "1.0"), PASS), **dict.fromkeys(("0", "0.0"), FAIL)}
"""What a table's column `passed` may hold, which is on no scale."""
_LABEL_COLUMNS = ("label", "human_label", "score", "passed")
_WHY_COLUMNS = ("explanation", "why", "comment", "reason")


def read_labels(
    path: Path, examples: Sequence[Example], columns: Mapping[str, str], expected: str | None, judge: Judge
) -> list[HumanLabel]:
    """The rows of a table with the columns `output` and `label` (or `score`, `passed`), and `explanation` where given.

    What the output answered stands in the configuration's own columns (`columns`: variable → column, and `expected`),
    or `example` names a row of the data (`examples`) by its id or the beginning of it. An expected answer without a
    column of its own (people's label may bear its name) is that of the data's row with the same inputs. Raises
    `DataError` naming file, row and column, for a row that the judge can not be held against, too.
    """
    table = open_table(path)
    label = _one_of(table.columns, _LABEL_COLUMNS)
    if label is None or "output" not in table.columns:
        raise DataError(f"{path}: labels need the columns output and label; it has {', '.join(table.columns)}")
    why = _one_of(table.columns, _WHY_COLUMNS)
    taken = ("output", "person", label, why)
    answers = _Answers(examples, expected if expected in table.columns and expected not in taken else None)
    found = []
    for row in table.rows:
        cells = _cells(row, path)
        if cells.get(label) in (None, ""):
            continue
        example = _example(cells, row, examples, columns, answers, path)
        one = HumanLabel(
            example,
            Rollout("human", example.id, "" if (output := cells.get("output")) is None else as_text(output)),
            _FLAGS.get(str(cells[label]), str(cells[label])) if label == "passed" else str(cells[label]),
            redact(str(cells.get(why or "") or "")),
            str(cells.get("person") or ""),
            judge.name,
        )
        try:
            category(one, judge, (PASS, FAIL))
            check_examples([judge], [example])
        except DataError as error:
            raise DataError(f"{path}: {row.place}: {_in_a_table(error, example, judge)}") from None
        found.append(one)
    if not found:
        raise DataError(f"{path}: no row has a {label}")
    return found


def run_labels(store: Store, run: str, judge: str, whole: bool = False) -> list[HumanLabel]:
    """What people said of a run's answers to a judge's question; `whole`: also of answers as a whole."""
    wanted = {judge, ""} if whole else {judge}
    examples = {row.example.id: row.example for row in store.reader.examples(run, None)}
    found: list[HumanLabel] = []
    for digest in store.reader.candidate_digests(run).values():
        kept = store.reader.verdicts(run, digest, None)
        said = [verdict for verdict in kept if verdict.kind == "human" and verdict.about in wanted]
        rollouts = {row.rollout.id: row.rollout for row in store.reader.rollouts(run, digest, None)} if said else {}
        found += [_from_verdict(verdict, rollouts[verdict.rollout], examples) for verdict in said]
    return found


def latest(labels: Iterable[HumanLabel]) -> list[HumanLabel]:
    """One label per answer, whichever question it was given to: of several, the last."""
    return list({label.answer: label for label in labels}.values())


def categories(judge: Judge, labels: Sequence[HumanLabel]) -> tuple[str, ...]:
    """What both sides are compared on: the judge's labels where people use them all the time, else pass and fail."""
    own = tuple(judge.file.labels) if isinstance(judge, LLMJudge) else ()
    names = {name.casefold() for name in own}
    return own if own and all(label.label.strip().casefold() in names for label in labels) else (PASS, FAIL)


def category(label: HumanLabel, judge: Judge, among: Sequence[str], verdict: Verdict | None = None) -> str:
    """A person's label as one of the categories: a score passes where the judge's own, as in `verdict`, would.

    Raises `DataError` for a word that means none of them, and for a number that the judge's scale does not have.
    """
    said = label.label.strip().casefold()
    for name in among:
        if name.casefold() == said:
            return name
    score = _score(said, judge) if label.score is None else label.score
    if score is None and said in _WORDS:
        return _WORDS[said]
    if score is None:
        own = f", or one of {', '.join(judge.file.labels)}" if isinstance(judge, LLMJudge) and judge.file.labels else ""
        scale = _scale(judge)
        raise DataError(
            f"the label {label.label!r} of example {label.example.id} means nothing to judge {judge.name}; possible: "
            f"pass, fail, a number from {scale.low:g} to {scale.high:g}{own}"
        )
    return PASS if score >= _pass_mark(judge, verdict) else FAIL


def _score(said: str, judge: Judge) -> float | None:
    """What one of the judge's labels scores, or a number on its scale."""
    if isinstance(judge, LLMJudge):
        scores = {name.casefold(): score for name, score in judge.file.labels.items()}
        if said in scores:
            return scores[said]
    try:
        return _scale(judge).share(float(said))
    except ValueError:
        return None


def _scale(judge: Judge) -> Scale:
    own = judge.file.scale if isinstance(judge, LLMJudge) else None
    return own or Scale(low=0, high=1)


def _pass_mark(judge: Judge, verdict: Verdict | None) -> float:
    """The score from which a judge passes an output; one by code that says itself what passes does so at 1."""
    if isinstance(judge, LLMJudge):
        return judge.file.pass_at
    if isinstance(judge, Callable):
        return judge.pass_at
    return 0.5 if verdict is not None and verdict.passed is None else 1.0


def _cells(row: Row, path: Path) -> dict[str, Json]:
    try:
        return {name: to_json(value) for name, value in row.cells.items()}
    except ValueError as error:
        raise DataError(f"{path}: {row.place}: a cell {error}") from None


def _in_a_table(error: DataError, example: Example, judge: Judge) -> str:
    """Why a row is of no use; data.expected and the data's cells may well be as they should."""
    if example.expected is None and "expected answer" in str(error):
        return (
            f"judge {judge.name} needs an expected answer, and no row of the data has these inputs; give the labels "
            "that column, or the id of a row of the data as `example`"
        )
    return str(error)


def _example(
    cells: Mapping[str, Json],
    row: Row,
    examples: Sequence[Example],
    columns: Mapping[str, str],
    answers: _Answers,
    path: Path,
) -> Example:
    if (id := cells.get("example")) not in (None, ""):
        named = [example for example in examples if example.id.startswith(str(id))]
        found = [example for example in named if example.id == str(id)] or named
        if len(found) != 1:
            problem = (
                f"{len(found)} rows of the data have ids that begin with" if found else "no row of the data has the id"
            )
            raise DataError(f"{path}: {row.place}: column 'example': {problem} {id!r}")
        return found[0]
    missing = [column for column in columns.values() if column not in cells]
    if missing:
        raise DataError(f"{path}: {row.place}: no column {missing[0]!r}; give the inputs, or the row's id as `example`")
    inputs = {name: cells[column] for name, column in columns.items()}
    return Example(fingerprint(inputs), inputs, answers.of(cells, inputs))


class _Answers:
    """Expected answers of labelled outputs: those of a table's column, or those of data with the same inputs."""

    def __init__(self, examples: Sequence[Example], column: str | None) -> None:
        self._column = column
        self._known = {fingerprint(dict(example.inputs)): example.expected for example in examples}

    def of(self, cells: Mapping[str, Json], inputs: Mapping[str, Json]) -> Json:
        return cells.get(self._column) if self._column else self._known.get(fingerprint(dict(inputs)))


def _from_verdict(verdict: Verdict, rollout: Rollout, examples: Mapping[str, Example]) -> HumanLabel:
    word = verdict.label or (PASS if verdict.passed else FAIL)
    if verdict.score is not None and word in (PASS, FAIL) and not verdict.passed:
        word = score_word(verdict.score)
    example = examples.get(rollout.example) or Example(rollout.example, {})
    return HumanLabel(example, rollout, word, verdict.explanation, verdict.source, verdict.about, score=verdict.score)


def _one_of(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in columns), None)
