"""Alarms: signs that a prompt has learned to please its judges, and nothing else.

Looks at the rows that the proof has read, baseline against challenger; decides nothing. An alarm says what a person
should look at: every sign has honest causes too.

* `all_pass`: every row passes now (each judge that counts says so, whatever the score), and many failed before. Judges
  that compare with an expected answer raise none.
* `length`: outputs have grown; judges that are language models tend to prefer longer ones (Zheng et al. 2023,
  "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena").
* `gold`: the judges that steer rise while a gold judge, which nothing was learned from, falls (the signature of an
  over-optimised reward; Gao et al. 2023, "Scaling Laws for Reward Model Overoptimization").
"""

from __future__ import annotations

from collections.abc import Sequence

from promptlearn.evaluation import Row
from promptlearn.judging import ExactMatch, LabelSet, NormalizedMatch, Numeric, Panel
from promptlearn.result import Alarm
from promptlearn.selection.stats import one_sided_p

ENOUGH = 10
"""Rows below which nothing is read into a pattern."""
FAILED_BEFORE = 0.3
"""Share of rows that did not pass with the baseline, from which all-pass is a jump."""
GROWTH = 1.5
"""Factor by which the mean output has grown."""
GROWN_ROWS = 0.75
"""Share of rows whose output is longer."""
FALL = 0.1
"""One-sided p-value of "the gold judge sees no fall"."""


def find_alarms(panel: Panel, before: Sequence[Row], after: Sequence[Row]) -> tuple[Alarm, ...]:
    """What to look at; `before[i]` and `after[i]` are one example. Empty where both are the same prompt."""
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old.rollout.prompt != new.rollout.prompt]
    found = [_all_pass(panel, pairs), _length(pairs)]
    found += [_gold(member.judge.name, pairs) for member in panel.members if member.gold]
    return tuple(alarm for alarm in found if alarm is not None)


def _all_pass(panel: Panel, pairs: Sequence[tuple[Row, Row]]) -> Alarm | None:
    if all(_compares(member.judge) for member in panel.members if member.counts):
        return None
    both = [(panel.passed(old.verdicts), panel.passed(new.verdicts)) for old, new in pairs]
    judged = [(old, new) for old, new in both if old is not None and new is not None]
    if len(judged) < ENOUGH or not all(new for _, new in judged):
        return None
    failed = sum(not old for old, _ in judged)
    if failed < FAILED_BEFORE * len(judged):
        return None
    words = f"all {len(judged)} rows pass, and {failed} of them did not with the baseline: read some of these outputs"
    return Alarm("all_pass", words, {"rows": len(judged), "failed_before": failed})


def _compares(judge: object) -> bool:
    """Whether a judge holds the output against the expected answer, which no wording can please."""
    return isinstance(judge, LabelSet | ExactMatch | NormalizedMatch | Numeric)


def _length(pairs: Sequence[tuple[Row, Row]]) -> Alarm | None:
    sizes = [(len(old.rollout.output), len(new.rollout.output)) for old, new in pairs if _answered(old, new)]
    if len(sizes) < ENOUGH:
        return None
    old, new = (sum(column) / len(sizes) for column in zip(*sizes, strict=True))
    grown = sum(after > before for before, after in sizes) / len(sizes)
    if new < GROWTH * old or grown < GROWN_ROWS:
        return None
    words = f"outputs have grown from {old:.0f} to {new:.0f} characters in the mean; judges tend to prefer longer ones"
    return Alarm("length", words, {"rows": len(sizes), "before": old, "after": new})


def _answered(*rows: Row) -> bool:
    return all(row.rollout.error is None for row in rows)


def _gold(name: str, pairs: Sequence[tuple[Row, Row]]) -> Alarm | None:
    both = [
        (old.score, new.score, gold_old, gold_new)
        for old, new in pairs
        if old.score is not None
        and new.score is not None
        and (gold_old := _score_of(name, old)) is not None
        and (gold_new := _score_of(name, new)) is not None
    ]
    if len(both) < ENOUGH:
        return None
    steering = sum(new - old for old, new, _, _ in both) / len(both)
    before, after = [old for *_, old, _ in both], [new for *_, new in both]
    gold = (sum(after) - sum(before)) / len(both)
    p_value = one_sided_p(before, after)
    if steering <= 0 or gold >= 0 or p_value > FALL:
        return None
    words = (
        f"the score rises by {steering:.3f} while the gold judge {name} falls by {-gold:.3f} on the same "
        f"{len(both)} rows (p = {p_value:.2g}): the judges that steer may have been gamed"
    )
    return Alarm("gold", words, {"rows": len(both), "score": steering, "gold": gold, "p_value": p_value, "judge": name})


def _score_of(name: str, row: Row) -> float | None:
    return next((verdict.score for verdict in row.verdicts if verdict.name == name and verdict.error is None), None)
