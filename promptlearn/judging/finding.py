"""What a judge found, as a verdict: the one place where code judges fill in the record, and others' is checked.

Knows the record and the rule that a failure is not a score (invariant 4).
"""

import math
from dataclasses import replace
from typing import Any

from promptlearn.errors import ModelError, PromptlearnError, SystemicError
from promptlearn.judging.excerpt import cut_end
from promptlearn.records import Failure, Rollout, Usage, Verdict, VerdictKind

_MAX_MESSAGE = 500


def found(
    name: str,
    rollout: Rollout,
    score: float,
    explanation: str,
    *,
    label: str | None = None,
    suggestion: str | None = None,
    passed: bool | None = None,
) -> Verdict:
    """A code judge's verdict with a score of 0 to 1; it passes at 1 unless `passed` says otherwise."""
    return Verdict(
        name=name,
        rollout=rollout.id,
        score=score,
        label=label,
        explanation=explanation,
        suggestion=suggestion,
        passed=score >= 1.0 if passed is None else passed,
        kind="code",
        source=name,
    )


def not_judged(
    name: str,
    rollout: Rollout,
    failure: Failure,
    *,
    kind: VerdictKind = "code",
    source: str = "",
    usage: Usage | None = None,
) -> Verdict:
    """A verdict without a score, which every mean leaves out and every report counts."""
    return Verdict(
        name=name,
        rollout=rollout.id,
        explanation=f"not judged: {failure.message}",
        error=failure,
        kind=kind,
        source=source or name,
        usage=usage or Usage(),
    )


def as_record(name: str, rollout: Rollout, said: object) -> Verdict:
    """What a judge returned, as the store can keep it: plain numbers and texts, and no score beside an error.

    Not judged (invariant 4) where it is no verdict, or has a score off the scale.
    """
    if not isinstance(said, Verdict):
        return not_judged(name, rollout, Failure("program", f"{name} returned {cut_end(repr(said), 100)}, no Verdict"))
    words = replace(
        said,
        explanation=_text(said.explanation) or "",
        label=_text(said.label),
        suggestion=_text(said.suggestion),
        passed=None if said.passed is None else bool(said.passed),
    )
    if said.error is not None:
        return replace(words, score=None, passed=None)
    if said.score is None:
        return words
    if (score := as_score(said.score)) is None:
        failure = Failure("program", f"{name} gave the score {said.score!r}; possible: 0 to 1, or None")
        return replace(words, score=None, passed=None, error=failure)
    return replace(words, score=score)


def as_score(value: Any) -> float | None:
    """A number of 0 to 1, numpy's among them; None for anything else."""
    if not hasattr(type(value), "__float__"):
        return None
    score = float(value)
    return score if math.isfinite(score) and 0.0 <= score <= 1.0 else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def raised(error: Exception) -> Failure:
    """What an exception out of a judge is filed under: one row's failure.

    What concerns the whole run (a refusing endpoint, a spent budget, unusable data) is no row's failure: it is raised
    again.
    """
    if isinstance(error, ModelError) and not isinstance(error, SystemicError):
        return Failure(error.kind, str(error))
    if isinstance(error, PromptlearnError):
        raise error
    words = cut_end(" ".join(str(error).split()), _MAX_MESSAGE)
    return Failure("program", f"{type(error).__name__}: {words}" if words else type(error).__name__)
