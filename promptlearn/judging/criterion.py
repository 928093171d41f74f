"""One rule of the reviewers as a judge: by code where the rule names a text or a form, else by a language model.

    judge = open_criterion("Never mention “Acme”.")                              # code
    judge = open_criterion("Stay friendly when the customer is not.", model)     # the judge file criterion.yaml

A rule of which code can check only a part is a model's business where there is one; without one the part is better than
nothing, and the verdict names it. Knows rules and judges; not whose rule it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from promptlearn.errors import ConfigError
from promptlearn.judging.asset import load_judge_file
from promptlearn.judging.base import Judge
from promptlearn.judging.excerpt import listing, quote
from promptlearn.judging.finding import found
from promptlearn.judging.llm import LLMJudge, LLMOptions
from promptlearn.judging.rule_checks import Check, find_checks, is_whole
from promptlearn.models.base import Model
from promptlearn.records import Example, Rollout, Verdict

NOT_APPLICABLE = "not_applicable"
"""The label of a rollout that the rule is not about."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """Scores 1 for an output that breaks no checkable part of a rule, 0 otherwise. Labels: `kept`, `broken`.

    Raises `ConfigError` for a rule of which code can check nothing.
    """

    rule: str
    name: str = "rule_check"
    _checks: tuple[Check, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks = find_checks(self.rule)
        if not checks:
            raise ConfigError(
                f"judge {self.name}: code can not check {quote(self.rule)}; a rule has to name a text in quotes or a "
                "form (one word, lower case, at most 3 sentences, …), else use `criterion` with models.judge"
            )
        object.__setattr__(self, "_checks", checks)

    @property
    def is_whole(self) -> bool:
        """Whether the rule says nothing beyond what is checked."""
        return is_whole(self.rule, self._checks)

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        complaints = [complaint for check in self._checks if (complaint := check.complain(rollout.output))]
        if complaints:
            said = f"breaks the rule {quote(self.rule)}: {'; '.join(complaints)}"
            return found(self.name, rollout, 0.0, said, label="broken", suggestion=self.rule)
        parts = (
            "" if self.is_whole else f", as far as code can tell ({listing([check.part for check in self._checks])})"
        )
        return found(self.name, rollout, 1.0, f"keeps the rule {quote(self.rule)}{parts}", label="kept")


def open_criterion(
    rule: str, model: Model | None = None, name: str = "criterion", secrets: Sequence[str] = ()
) -> Judge | None:
    """The judge of a rule; None where only a language model could judge it, and there is none."""
    if find_checks(rule):
        by_code = RuleCheck(rule, name)
        if model is None or by_code.is_whole:
            return by_code
    if model is None:
        return None
    return LLMJudge(load_judge_file("criterion"), model, LLMOptions(name=name, criteria=rule), secrets)
