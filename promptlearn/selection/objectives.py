"""Several objectives: what each is on a row, how two prompts compare, which are on the front, and which one is chosen.

Pure functions of rows' figures; knows no prompt and runs nothing. What nobody knows (a price, a time that was not
taken) has no figure, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

from promptlearn.config.objectives import QUALITY, ObjectiveConfig
from promptlearn.records import Rollout, Verdict, is_skipped
from promptlearn.selection.stats import PairedTest, paired_measures, paired_test

LEVEL = 0.05
"""Two-sided level at which two prompts differ."""
EXACT = 1e-9
"""Part of an allowance by which arithmetic may miss it."""

PROMPT_SIZE = ("cost", "tokens")
"""Measures that a shorter prompt is better by, whatever it says."""
MEASURES = ("cost", "tokens", "latency", "length")
"""Of an answer; they have no upper end, as scores have."""

Figures: TypeAlias = Mapping[str, float | None]
"""Example id → value; None: not known there."""
Board: TypeAlias = Mapping[str, Figures]
"""Name of an objective → figures of one prompt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rollout took, whatever was said about it. None: nobody knows."""

    cost: float | None
    """US dollars."""
    tokens: float | None
    latency: float | None
    """Seconds."""
    length: float | None
    """Characters."""


RowFigures: TypeAlias = tuple[str, float | None, Answer | None, Sequence[Verdict]]
"""Of one row: example id, score, what the answer took, what judges said."""


def answer_of(rollout: Rollout) -> Answer | None:
    """What an answer took; None where there is none. A program that counts no calls says nothing of their cost."""
    if rollout.error is not None:
        return None
    usage = rollout.usage
    tokens = usage.input_tokens + usage.output_tokens
    return Answer(
        cost=usage.cost_usd if usage.calls + usage.cached_calls else None,
        tokens=float(tokens) if tokens else None,
        latency=rollout.seconds or None,
        length=float(len(rollout.output)),
    )


def board_of(objectives: Sequence[ObjectiveConfig], rows: Iterable[RowFigures]) -> Board:
    """The figures of one prompt. Measures of answers leave out rows without one; a score that is missing is None.

    By a judge that a failed gate held up, a row earns 0, as it does in the score of all; nothing where there is no such
    score, because the gate itself could not judge (invariant 4).
    """
    board: dict[str, dict[str, float | None]] = {one.name: {} for one in objectives}
    for example, score, answer, verdicts in rows:
        skipped = None if score is None else 0.0
        said = {one.name: skipped if is_skipped(one) else one.score for one in verdicts if one.error is None}
        for name, figures in board.items():
            if name not in MEASURES:
                figures[example] = score if name == QUALITY else said.get(name)
            elif answer is not None:
                figures[example] = getattr(answer, name)
    return board


def mean(name: str, figures: Collection[float | None]) -> float | None:
    """Over the rows where it is known. What some answers cost, while others' price is unknown, is no mean cost."""
    known = [value for value in figures if value is not None]
    if not known or (name == "cost" and len(known) < len(figures)):
        return None
    return fmean(known)


def compare(objective: ObjectiveConfig, new: Figures, old: Figures) -> PairedTest | None:
    """New minus old on the rows that both have a figure on; None where there is none.

    Scores as in `stats.paired_test`, measures as in `stats.paired_measures`.
    """
    pairs = [(value, before) for id, value in new.items() if value is not None and (before := old.get(id)) is not None]
    if not pairs:
        return None
    test = paired_measures if objective.name in MEASURES else paired_test
    return test([value for value, _ in pairs], [before for _, before in pairs])


def dominates(
    one: Mapping[str, float | None], other: Mapping[str, float | None], objectives: Sequence[ObjectiveConfig]
) -> bool:
    """Whether `one` is as good by every objective and better by one. What is not known of either is not dominated."""
    gains = []
    for objective in objectives:
        mine, theirs = one.get(objective.name), other.get(objective.name)
        if mine is None and theirs is None:
            continue
        if mine is None or theirs is None:
            return False
        gains.append(objective.sign * (mine - theirs))
    return bool(gains) and min(gains) >= 0 and max(gains) > 0


def pareto_front(
    means: Mapping[str, Mapping[str, float | None]], objectives: Sequence[ObjectiveConfig]
) -> frozenset[str]:
    """The prompts that no other dominates."""
    return frozenset(
        digest
        for digest, own in means.items()
        if not any(dominates(other, own, objectives) for key, other in means.items() if key != digest)
    )


def broken(objectives: Sequence[ObjectiveConfig], board: Board, baseline: Board) -> list[str]:
    """Bounds, and allowances against the baseline, that a prompt's means do not keep, in words.

    An unknown mean keeps no bound. The allowance of the objective in the lead is no matter between these two.
    """
    found = []
    for place, objective in enumerate(objectives):
        name = objective.name
        value = mean(name, board.get(name, {}).values())
        shown = "unknown" if value is None else f"{value:.4g}"
        if objective.at_most is not None and (value is None or value > objective.at_most):
            found.append(f"{name} is {shown}, and at most {objective.at_most:g} is allowed")
        if objective.at_least is not None and (value is None or value < objective.at_least):
            found.append(f"{name} is {shown}, and at least {objective.at_least:g} is asked for")
        if objective.may_lose is not None and place:
            test = _at_worst(objective, board, baseline)
            if test is None or _loss(objective, test) > objective.may_lose * (1 + EXACT):
                change = "unknown" if test is None else f"{test.difference:+.4g}"
                found.append(f"{name} changes by {change}, and {objective.may_lose:g} may be lost")
    return found


def better(objective: ObjectiveConfig, test: PairedTest | None) -> bool:
    """Whether the new one is proven better."""
    return test is not None and test.p_value < LEVEL and objective.sign * test.difference > 0


def worse(objective: ObjectiveConfig, test: PairedTest | None) -> bool:
    """Whether the new one is proven worse."""
    return test is not None and test.p_value < LEVEL and objective.sign * test.difference < 0


def choose(
    boards: Mapping[str, Board], objectives: Sequence[ObjectiveConfig], incumbent: str, baseline: str
) -> str | None:
    """The digest that the objectives prefer, one after the other; None where none keeps every bound.

    `boards` holds prompts on the same rows. Quality in the lead measures against the incumbent, which its race has
    proven; any other objective against the best by its mean. Who is worse than that by more than chance, or, in the
    lead, by more than may be lost, is out; the next objective chooses among the others. Where none is left, or nothing
    tells them apart, the incumbent stays.
    """
    left = [digest for digest, board in boards.items() if not broken(objectives, board, boards[baseline])]
    for place, objective in enumerate(objectives):
        known = {digest: value for digest in left if (value := _mean(objective, boards[digest])) is not None}
        if not known:
            continue
        best = max(known, key=lambda digest: (objective.sign * known[digest], digest == incumbent))
        mark = incumbent if objective.name == QUALITY and incumbent in known else best
        left = [digest for digest in known if _keeps_up(objective, boards[digest], boards[mark], leads=not place)]
    if not left:
        return None
    return incumbent if incumbent in left else left[0]


def _keeps_up(objective: ObjectiveConfig, board: Board, mark: Board, leads: bool) -> bool:
    test = _at_worst(objective, board, mark)
    if test is None or (worse(objective, test) and not (leads and objective.may_lose)):
        return False
    return not leads or _loss(objective, test) <= (objective.may_lose or 0.0) * (1 + EXACT)


def _at_worst(objective: ObjectiveConfig, board: Board, mark: Board) -> PairedTest | None:
    """`compare`; rows that only the new one failed on count as lost, so that none wins by failing where it is hard."""
    new, old = board.get(objective.name, {}), mark.get(objective.name, {})
    if objective.name == QUALITY:
        new = {id: value or 0.0 for id, value in new.items()}
    return compare(objective, new, old)


def _loss(objective: ObjectiveConfig, test: PairedTest) -> float:
    return -objective.sign * test.difference


def _mean(objective: ObjectiveConfig, board: Board) -> float | None:
    return mean(objective.name, board.get(objective.name, {}).values())
