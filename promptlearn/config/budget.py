"""`budget`: what a run may take."""

from __future__ import annotations

from pydantic import Field

from promptlearn.config.section import Section


class RoleBudgetConfig(Section):
    """Caps over one role; its calls are capped by `task_calls` and its like."""

    usd: float | None = Field(None, gt=0)
    """US dollars; needs the price of the role's model."""
    tokens: int | None = Field(None, gt=0)
    """Input and output together."""


class RoleBudgetsConfig(Section):
    task: RoleBudgetConfig = RoleBudgetConfig()
    """Answers to examples."""
    judge: RoleBudgetConfig = RoleBudgetConfig()
    """Judgements by language models."""
    meta: RoleBudgetConfig = RoleBudgetConfig()
    """Rewrites by language models."""


class BudgetConfig(Section):
    """Caps over all roles together; the run stops before the first call that might exceed one."""

    usd: float | None = Field(None, gt=0)
    """US dollars; needs the price of every model."""
    tokens: int | None = Field(None, gt=0)
    """Input and output together."""
    calls: int | None = Field(None, gt=0)
    """Of every role together."""
    task_calls: int | None = Field(1000, gt=0)
    """Answers to examples, those on the test split included."""
    judge_calls: int | None = Field(None, gt=0)
    """Judgements by language models."""
    meta_calls: int | None = Field(None, gt=0)
    """Rewrites by language models."""
    minutes: float | None = Field(None, gt=0)
    """Working time, that of interrupted stretches included."""
    roles: RoleBudgetsConfig = RoleBudgetsConfig()
    """Dollars and tokens of one role by itself, such as `judge: {usd: 2}`."""
