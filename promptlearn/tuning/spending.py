"""Spending: what a training run has taken up to some moment, from its ledger, its device and its clock.

Plain functions; knows no step and no reading.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptlearn.ledger import Ledger
from promptlearn.models.base import Model
from promptlearn.records import ROLES, Role, Usage
from promptlearn.store.tuning_rows import TuningSpending


def spending(ledger: Ledger, models: Mapping[Role, Model], gpu_s: float, wall_s: float) -> TuningSpending:
    """`models` answer the roles' calls, the policy's own apart: those are device time."""
    spent = {role: ledger.spent(role) for role in ROLES}
    return TuningSpending(
        calls={role: charge.calls for role, charge in spent.items()},
        tokens={role: charge.tokens for role, charge in spent.items()},
        usd={
            role: charge.usd if _priced(ledger.usage(role), models.get(role) if role != "task" else None) else None
            for role, charge in spent.items()
        },
        gpu_s=gpu_s,
        wall_s=wall_s,
    )


def spending_of(usage: Mapping[Role, Usage], gpu_s: float, wall_s: float) -> TuningSpending:
    """Of a result that knows no more than usage: calls that the journal answered are without their tokens."""
    return TuningSpending(
        calls={role: one.calls + one.cached_calls for role, one in usage.items()},
        tokens={role: one.input_tokens + one.output_tokens for role, one in usage.items()},
        usd={role: one.cost_usd for role, one in usage.items()},
        gpu_s=gpu_s,
        wall_s=wall_s,
    )


def _priced(usage: Usage, model: Model | None) -> bool:
    """Whether dollars are known, those of replies from the journal included."""
    return usage.cost_usd is not None and not (usage.cached_calls and model is not None and model.price is None)
