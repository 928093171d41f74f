"""The proof: the test split, read once, and what may be said after it (invariants 5 and 7).

Knows two prompts and the test rows; knows nothing about how the second came to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.config import QUALITY, ObjectiveConfig
from promptlearn.evaluation import Evaluator, Row, Want
from promptlearn.judging import Panel
from promptlearn.judging.noise import Judged, PanelNoise, first_of_each, measure_noise, moods
from promptlearn.objectives import board_of_rows
from promptlearn.records import Example, Json, Prompt
from promptlearn.result import Conclusion, Difference, Measure, ObjectiveResult
from promptlearn.selection.objectives import better, broken, compare, mean, worse
from promptlearn.selection.stats import mean_interval, paired_test

LEVEL = 0.05
"""Two-sided level of the test on the test split."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Baseline and challenger on the same test rows."""

    conclusion: Conclusion
    baseline: Measure
    challenger: Measure
    delta: Difference
    before: tuple[Row, ...] = ()
    """The baseline's rows, in the order of the examples."""
    after: tuple[Row, ...] = ()
    """The challenger's."""
    objectives: tuple[ObjectiveResult, ...] = ()
    """Where the configuration has some."""
    broken: tuple[str, ...] = ()
    """Bounds of theirs that the challenger does not keep."""


async def prove(baseline: Prompt, challenger: Prompt, test: Sequence[Example], evaluator: Evaluator) -> Proof:
    """Run both prompts on the test rows and compare them pair by pair.

    `improved` and `regressed` need a two-sided p-value below `LEVEL`; anything else is `not_proven`. Rows on which
    either prompt has no score are in no mean difference. But `improved` has to hold as well when each row that only
    the challenger failed on counts against it: a prompt does not win by failing where it is hard.
    """
    same = baseline.digest == challenger.digest
    prompts = [baseline] if same else [baseline, challenger]
    rows = await evaluator.rows([Want(prompt, example, "test") for prompt in prompts for example in test])
    before, after = rows[: len(test)], rows[-len(test) :]
    pairs = [
        (new.score, old.score)
        for old, new in zip(before, after, strict=True)
        if old.score is not None and new.score is not None
    ]
    tested = paired_test([new for new, _ in pairs], [old for _, old in pairs])
    conclusion: Conclusion = "not_proven"
    if tested.p_value < LEVEL and not same:
        conclusion = "regressed" if tested.difference < 0 else "improved" if _holds(before, after) else "not_proven"
    delta = Difference(tested.difference, tested.ci95, tested.p_value, tested.test, tested.n)
    return Proof(conclusion, measure(before), measure(after), delta, tuple(before), tuple(after))


def weigh(proof: Proof, objectives: Sequence[ObjectiveConfig]) -> Proof:
    """The proof by several objectives: the first has to be proven better, and the bounds of all have to be kept.

    Without any, the same proof: quality alone.
    """
    if not objectives:
        return proof
    lead = objectives[0]
    old, new = (board_of_rows(objectives, rows) for rows in (proof.before, proof.after))
    tests = {one.name: compare(one, new[one.name], old[one.name]) for one in objectives}
    results = tuple(
        ObjectiveResult(
            one.name,
            "higher" if one.sign > 0 else "lower",
            mean(one.name, old[one.name].values()),
            mean(one.name, new[one.name].values()),
            Difference(test.difference, test.ci95, test.p_value, test.test, test.n) if test else None,
            "unknown" if test is None else "better" if better(one, test) else "worse" if worse(one, test) else "equal",
        )
        for one in objectives
        for test in [tests[one.name]]
    )
    lost = tuple(broken(objectives, new, old))
    conclusion = proof.conclusion
    if lead.name != QUALITY:
        test = tests[lead.name]
        conclusion = "improved" if better(lead, test) else "regressed" if worse(lead, test) else "not_proven"
    if lost and conclusion == "improved":
        conclusion = "not_proven"
    return replace(proof, conclusion=conclusion, objectives=results, broken=lost)


async def above_noise(proof: Proof, panel: Panel, rows: int, repeats: int) -> tuple[Proof, dict[str, Json] | None]:
    """The proof, `not_proven` where the judges' mood alone may have made the difference (invariant 7).

    Where an improvement seems proven and a judge may say something else the next time, `rows` answers of both prompts
    in turn are judged `repeats` times each; of those that share a verdict, one. Also what came of it, or None where
    nothing was measured: deterministic judges cost nothing more. Raises what concerns the whole run.
    """
    by_quality = not proof.objectives or proof.objectives[0].name == QUALITY
    if proof.conclusion != "improved" or not by_quality or not panel.stochastic or not rows:
        return proof, None
    pairs = [pair for pair in zip(proof.before, proof.after, strict=True) if None not in (pair[0].score, pair[1].score)]
    judged = [Judged(row.example, row.rollout, row.verdicts) for pair in pairs for row in pair]
    found = moods([panel.questions(*row) for row in judged])
    if not (sample := first_of_each(judged, found)[:rows]):
        return proof, None
    measured = await measure_noise(panel, sample, repeats)
    weights: Counter[int] = Counter()
    for place, mood in enumerate(found):
        if mood is not None:
            weights[mood] += 1 if place % 2 else -1
    noise, floor = measured.score, measured.score.floor_of(weight / len(pairs) for weight in weights.values())
    words = _below(proof.delta, measured, floor)
    figures = {**noise.to_json(), "floor": floor, "refused": bool(words), "message": words}
    return (replace(proof, conclusion="not_proven") if words else proof), figures


def _below(delta: Difference, noise: PanelNoise, floor: float | None) -> str:
    """Why a difference is nothing to rely on; empty where it is above the noise floor."""
    if floor is None or noise.score.flip_rate is None:
        return (
            "the noise of the judges is not known, because no answer could be judged twice; most often: "
            f"{noise.trouble or 'no verdict'}; mend that, and see what `promptlearn judge noise` says"
        )
    if delta.score >= floor:
        return ""
    return (
        f"the difference of {delta.score:+.3f} over {delta.n} rows is below the noise floor of the judges, "
        f"{floor:.3f}: they change their minds about the same answer in {noise.score.flip_rate:.0%} of cases; take a "
        "steadier judge (`promptlearn judge noise`) or more test rows"
    )


def _holds(before: Sequence[Row], after: Sequence[Row]) -> bool:
    """Whether the gain is still proven with the challenger's own failures as lost pairs."""
    pairs = [(new.score or 0.0, old.score) for old, new in zip(before, after, strict=True) if old.score is not None]
    worst = paired_test([new for new, _ in pairs], [old for _, old in pairs])
    return worst.difference > 0 and worst.p_value < LEVEL


def measure(rows: Sequence[Row]) -> Measure:
    """Mean score with its interval; rows without a score are counted apart (invariant 4)."""
    scores = [row.score for row in rows if row.score is not None]
    mean = sum(scores) / len(scores) if scores else None
    return Measure(mean, len(scores), len(rows) - len(scores), mean_interval(scores))
