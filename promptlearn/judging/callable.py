"""Callable: a Python function of the user's as a judge.

Knows how to read what such a function returns; nothing about models or files.
"""

import inspect
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from promptlearn.judging.excerpt import cut_end
from promptlearn.judging.finding import as_score, found, not_judged, raised
from promptlearn.records import Example, Failure, Rollout, Verdict

_KEYS = {
    **dict.fromkeys(("score", "value"), "score"),
    **dict.fromkeys(("explanation", "reason", "rationale", "comment", "feedback"), "explanation"),
    **{key: key for key in ("label", "suggestion", "passed")},
}
_POSSIBLE = "a bool, a number from 0 to 1, (score, explanation), a dict with `score` and `explanation`, or a Verdict"


@dataclass(frozen=True, slots=True)
class Callable:
    """Calls `function(example, rollout)`, which may be async, and makes a verdict of what it returns:

        True                                      right or wrong
        0.75                                      a score of 0 to 1
        (0.75, "names no order number")           with its explanation
        {"score": 0.75, "explanation": "…", "label": "…", "suggestion": "…", "passed": True}
        Verdict(…)

    A dict may say `reason`, `rationale`, `comment` or `feedback` for `explanation`, and `value` for `score`. A score
    passes from `pass_at` on, unless the function says. A function that raises, or returns something else, has judged
    nothing: the verdict carries a `Failure("program", …)`. A plain function runs in the event loop: make it async if
    it waits for anything.
    """

    function: abc.Callable[[Example, Rollout], Any]
    name: str = ""
    pass_at: float = 0.5

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", getattr(self.function, "__name__", type(self.function).__name__))

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        try:
            result = self.function(example, rollout)
            if inspect.isawaitable(result):
                result = await result
            return self._verdict(rollout, result)
        except Exception as error:
            return not_judged(self.name, rollout, raised(error))

    def _verdict(self, rollout: Rollout, result: Any) -> Verdict:
        if isinstance(result, Verdict) and (result.score is None or as_score(result.score) is not None):
            return replace(result, name=self.name, rollout=rollout.id)
        fields = _fields(result)
        score = as_score(fields.pop("score", None))
        if score is None:
            message = f"{self.name} returned {_shown(result)}, not {_POSSIBLE}"
            return not_judged(self.name, rollout, Failure("program", message))
        words = {key: None if value is None else str(value) for key, value in fields.items() if key != "passed"}
        passed = fields.get("passed")
        return found(
            self.name,
            rollout,
            score,
            words.get("explanation") or f"{self.name} returned {_shown(result)}",
            label=words.get("label"),
            suggestion=words.get("suggestion"),
            passed=score >= self.pass_at if passed is None else bool(passed),
        )


def _shown(value: Any) -> str:
    return cut_end(repr(value), 100)


def _fields(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        unknown = [str(key) for key in result if key not in _KEYS]
        if unknown:
            raise ValueError(f"returned the unknown key {unknown[0]!r}; possible: {', '.join(sorted(_KEYS))}")
        return {_KEYS[key]: value for key, value in result.items()}
    if isinstance(result, tuple) and len(result) == 2:
        return {"score": result[0], "explanation": result[1]}
    return {"score": result}
