"""One budget for many experiments: every one gets the same share, whichever runs faster.

Shares depend on the experiments file alone: not on who spends less, on what ran before, nor on which of them are chosen
or which shard they are in. So what an experiment decides depends on no other one (invariant 8), and their caps never
add up to more than the whole (invariant 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from promptlearn.config import BudgetConfig, put_key
from promptlearn.errors import ConfigError
from promptlearn.experiments.file import SharedBudgetConfig
from promptlearn.experiments.matrix import Experiment, caps

MINUTES = "minutes"


def share_out(
    shared: SharedBudgetConfig | None, experiments: Sequence[Experiment], at_once: int
) -> tuple[Experiment, ...]:
    """The same experiments with their caps.

    A cap that an experiment has for itself comes off the whole first; what is left is divided equally, and an
    experiment keeps a lower cap of its base. Minutes pass for all at once: their whole is divided by how many
    experiments run one after the other, so that all are through in time. Raises ConfigError where there is not enough
    to divide.
    """
    if shared is None:
        return tuple(experiments)
    budgets = [one.config.budget.model_dump(exclude_unset=True) for one in experiments]
    for key, total in caps(shared.model_dump(exclude_unset=True)).items():
        known = [caps(budget).get(key) for budget in budgets]
        own = [cap for one, cap in zip(experiments, known, strict=True) if key in one.own_caps and cap is not None]
        share = _share(key, total, own, len(experiments), at_once)
        for one, budget, cap in zip(experiments, budgets, known, strict=True):
            if key not in one.own_caps and share is not None:
                put_key(budget, key, share if cap is None else min(cap, share), f"budget.{key}")
    return tuple(
        replace(one, config=one.config.model_copy(update={"budget": BudgetConfig.model_validate(budget)}))
        for one, budget in zip(experiments, budgets, strict=True)
    )


def _share(key: str, total: float, own: Sequence[float], experiments: int, at_once: int) -> float | None:
    """What each experiment without a cap of its own gets; None where there is no such experiment."""
    others = experiments - len(own)
    if key == MINUTES:
        return total / math.ceil(experiments / at_once)
    left = Fraction(total) - sum(map(Fraction, own), Fraction(0))
    if left < 0:
        raise ConfigError(
            f"experiments have budget.{key} = {sum(own):g} for themselves, more than the {total:g} of all"
        )
    if not others:
        return None
    share = left // others if isinstance(total, int) else _below(left / others)
    if not share:
        raise ConfigError(f"budget.{key} = {total:g} leaves {float(left):g} for {others} experiments; raise it")
    return share


def _below(amount: Fraction) -> float:
    """The largest float that is no larger."""
    nearest = float(amount)
    return nearest if Fraction(nearest) <= amount else math.nextafter(nearest, 0.0)
