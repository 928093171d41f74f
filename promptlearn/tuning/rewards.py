"""Rewards: what the judges of the job say about what the policy wrote.

The same panel as in a prompt's run, so that both halves learn from one verdict. Knows judges; knows no policy. A reward
that could not be computed is None (invariant 4): it is in no mean, no deviation and no loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptlearn.evaluation import Row
from promptlearn.judging import Panel
from promptlearn.records import Example, Rollout, Split, Verdict


@dataclass(frozen=True, slots=True)
class Reward:
    """One answer's reward, and why."""

    value: float | None
    """0 to 1; None: not judged, and `error` says why."""
    parts: Mapping[str, float | None] = field(default_factory=dict)
    """Judge → its score; gold judges, which are in no reward, are among them. `ranking`: the answer's place."""
    feedback: str = ""
    """The judges' words."""
    error: str = ""
    passed: bool | None = None
    """Whether every judge that counts passes it; None: not judged."""
    vetoed: bool = False
    """A judge with a veto did not pass it."""
    unranked: bool = False
    """The judges gave it a score, and the ranking of its group failed."""


class Rewards:
    """Judges answers to one prompt on rows of one split."""

    def __init__(self, panel: Panel, prompt: str, split: Split) -> None:
        """`prompt` is the digest of the prompt that the policy answers."""
        self._panel = panel
        self._prompt = prompt
        self._split = split

    async def judge(self, example: Example, output: str, finish_reason: str) -> Reward:
        """The panel's verdict on one answer. An empty answer is one too: the policy chose to say nothing.

        Raises what concerns the whole run: SystemicError, BudgetSpent, Interrupted, UsageError.
        """
        rollout = Rollout(prompt=self._prompt, example=example.id, output=output, stop_reason=finish_reason)
        verdicts = await self._panel.judge(example, rollout, self._split)
        row = Row(example, rollout, verdicts, self._panel.score(verdicts))
        parts = {verdict.name: verdict.score for verdict in verdicts}
        return Reward(
            row.score,
            parts,
            "\n".join(map(_words, verdicts)),
            row.trouble or "",
            self._panel.passed(verdicts),
            vetoed=self._panel.vetoed(verdicts),
        )


def _words(verdict: Verdict) -> str:
    said = [verdict.explanation, verdict.suggestion]
    return f"{verdict.name}: {' '.join(text for text in said if text)}"
