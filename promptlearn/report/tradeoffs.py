"""Trade-offs: every prompt by every objective, and the front of those that no other beats by all of them.

Validation decides who is on the front, because there are many prompts there; the test split has two, with the paired
test that the run made of them. Reads the answers of prompts that ran on every validation row; the others are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from promptlearn.records import Interval, Json, Split, Verdict
from promptlearn.report.names import baseline_of, best_of, find_run, value_at
from promptlearn.store.rows import RunRow

if TYPE_CHECKING:
    from promptlearn.config import ObjectiveConfig
    from promptlearn.selection.objectives import Board
    from promptlearn.store import Store

BY_DEFAULT = ("cost", "tokens", "latency", "length")
"""What is shown beside quality where the configuration names nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One objective of one prompt."""

    mean: float | None
    """None: not known."""
    ci95: Interval | None
    """None where a mean has none."""
    n: int
    """Rows on which it is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One prompt by every objective."""

    number: int
    """Of the candidate; 0 is the baseline."""
    digest: str
    proposer: str
    figures: tuple[Figure, ...]
    """In the order of the objectives."""
    on_front: bool
    role: str
    """`baseline`, `best` or nothing."""


@dataclass(frozen=True, slots=True)
class Tradeoffs:
    run: str
    objectives: tuple[ObjectiveConfig, ...]
    configured: bool
    """False: nobody named them, so they are shown and decided nothing."""
    rows: int
    """Validation rows."""
    standings: tuple[Standing, ...]
    """Those on the front first, each part by the first objective."""
    incomplete: int
    """Prompts that ran on some of the validation rows only, and so are not compared."""
    test: Json
    """What `run --json` says under `objectives`: baseline and challenger on the test split; empty before it is read."""


def tradeoffs(store: Store, which: str = "latest", split: Split = "validation") -> Tradeoffs:
    """Prompts of a run by its objectives. Raises `UsageError` naming runs."""
    from promptlearn.selection.objectives import pareto_front

    row = find_run(store, which)
    objectives, configured = _objectives(row)
    candidates = store.reader.candidates(row.id)
    baseline = baseline_of(row, {one.number: one.candidate.digest for one in candidates})
    best = best_of(row, store.reader.decisions(row.id), baseline)
    totals = {one.prompt: one.rollouts for one in store.views.totals(row.id) if one.split == split}
    rows = max(totals.values(), default=0)
    names = {one.candidate.digest: (one.number, one.candidate.proposer) for one in candidates}
    complete = [digest for digest in names if totals.get(digest) == rows]
    boards = {digest: _board(store, row.id, digest, split, objectives) for digest in complete if rows}
    front = pareto_front(_means(boards, objectives), objectives)
    standings = [
        Standing(
            *(names[digest][0], digest, names[digest][1]),
            figures=tuple(_figure(one.name, [*board[one.name].values()]) for one in objectives),
            on_front=digest in front,
            role="best" if digest == best else "baseline" if digest == baseline else "",
        )
        for digest, board in boards.items()
    ]
    lead = objectives[0]
    standings.sort(key=lambda one: (not one.on_front, *_by(lead, one.figures[0].mean), one.number))
    partial = sum(digest in totals for digest in names) - len(boards)
    test = value_at(row.result, "objectives") or []
    return Tradeoffs(row.id, objectives, configured, rows, tuple(standings), partial, test)


def _objectives(row: RunRow) -> tuple[tuple[ObjectiveConfig, ...], bool]:
    from promptlearn.config import QUALITY, ObjectiveConfig, in_order

    said = value_at(row.config, "objectives")
    if said:
        return in_order([ObjectiveConfig.model_validate(one) for one in said]), True
    return tuple(ObjectiveConfig(name=name) for name in (QUALITY, *BY_DEFAULT)), False


def _by(lead: ObjectiveConfig, value: float | None) -> tuple[bool, float]:
    """The best first, and what is not known last."""
    return value is None, 0.0 if value is None else -lead.sign * value


def _means(boards: Mapping[str, Board], objectives: Sequence[ObjectiveConfig]) -> dict[str, dict[str, float | None]]:
    """Digest → name of an objective → mean. By quality a row that a prompt failed on counts as lost, unless none has a
    score on it: nobody is on the front by failing where it is hard (as in `proof`).
    """
    from promptlearn.config import QUALITY
    from promptlearn.selection.objectives import mean

    judged = {
        example for board in boards.values() for example, score in board.get(QUALITY, {}).items() if score is not None
    }

    def figures(board: Board, name: str) -> Sequence[float | None]:
        own = board[name]
        if name != QUALITY or all(score is None for score in own.values()):
            return [*own.values()]
        return [own.get(example) or 0.0 for example in judged]

    return {
        digest: {one.name: mean(one.name, figures(board, one.name)) for one in objectives}
        for digest, board in boards.items()
    }


def _board(store: Store, run: str, digest: str, split: Split, objectives: Sequence[ObjectiveConfig]) -> Board:
    from promptlearn.config import QUALITY
    from promptlearn.selection.objectives import MEASURES, answer_of, board_of

    scores = store.views.scores(run, digest, split)
    asks_judges = any(one.name not in (QUALITY, *MEASURES) for one in objectives)
    said = store.reader.verdicts(run, digest, split) if asks_judges else []
    verdicts: dict[str, list[Verdict]] = {}
    for verdict in said:
        verdicts.setdefault(verdict.rollout, []).append(verdict)
    rollouts = [one.rollout for one in store.reader.rollouts(run, digest, split)]
    return board_of(
        objectives,
        [(one.example, scores.get(one.example), answer_of(one), verdicts.get(one.id, ())) for one in rollouts],
    )


def _figure(name: str, values: Sequence[float | None]) -> Figure:
    from promptlearn.selection.objectives import MEASURES, mean
    from promptlearn.selection.stats import mean_interval

    middle = mean(name, values)
    known = [value for value in values if value is not None]
    if middle is None:
        return Figure(None, None, len(known))
    if name not in MEASURES:
        return Figure(middle, mean_interval(known), len(known))
    return Figure(middle, _interval(known), len(known))


def _interval(values: Sequence[float]) -> Interval | None:
    """Of a mean without bounds: Student's t."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None
    middle = fmean(values)
    spread = (sum((value - middle) ** 2 for value in values) / (n - 1) / n) ** 0.5
    half = float(stdtrit(n - 1, 0.975)) * spread
    return Interval(middle - half, middle + half)


def as_document(found: Tradeoffs) -> dict[str, Json]:
    """For programs."""
    return {**asdict(found), "objectives": [one.model_dump() for one in found.objectives]}


def lead_of(result: Json) -> str:
    """`tokens 238 → 73` where another objective than quality was the one to prove, on the test split; else empty."""
    from promptlearn.config import QUALITY

    lead = next(iter(value_at(result, "objectives") or []), None)
    if lead is None or lead["name"] == QUALITY:
        return ""
    return f"{_with_unit(lead['name'])} {as_value(lead['baseline'])} → {as_value(lead['challenger'])}"


def headings(objectives: Sequence[ObjectiveConfig]) -> list[str]:
    """Names of the objectives with their units and an arrow to the better side."""
    return [f"{_with_unit(one.name)} {'↑' if one.sign > 0 else '↓'}" for one in objectives]


def _with_unit(name: str) -> str:
    from promptlearn.config.objectives import UNITS

    return f"{name}, {UNITS[name]}" if UNITS.get(name) else name


def as_value(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def as_figure(figure: Figure, rows: int) -> str:
    """A mean with its interval, and with its number of rows where they are not all."""
    if figure.mean is None:
        return as_value(figure.mean)
    beside = [f"{figure.ci95.low:.3g} – {figure.ci95.high:.3g}"] if figure.ci95 else []
    beside += [f"n={figure.n}"] if figure.n < rows else []
    return f"{figure.mean:.4g} ({'; '.join(beside)})" if beside else as_value(figure.mean)


def left_out(found: Tradeoffs) -> str:
    """Whom the table leaves out, in words; empty where nobody is."""
    if not found.incomplete:
        return ""
    who, verb = ("prompt", "is") if found.incomplete == 1 else ("prompts", "are")
    return f"{found.incomplete} {who} ran on fewer rows, and {verb} left out"


def test_lines(found: Tradeoffs) -> list[str]:
    """What became of each objective on the test split, in one line each."""
    lines = []
    for one in found.test:
        line = (
            f"{_with_unit(one['name'])}: {as_value(one['baseline'])} → {as_value(one['challenger'])}: {one['verdict']}"
        )
        if one["delta"]:
            low, high = one["delta"]["ci95"]
            line += f" ({one['delta']['score']:+.3g}, 95 % interval {low:+.3g} to {high:+.3g})"
        lines.append(line)
    return lines
