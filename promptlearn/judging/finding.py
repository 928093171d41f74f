"""What a judge found, as a verdict: the one place where code judges fill in the record.

Knows the record and the rule that a failure is not a score (invariant 4).
"""

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
