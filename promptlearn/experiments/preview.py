"""What a batch will take: each experiment's estimate under its share of the budget. No network.

Calls that experiments have in common are paid for once, so the sums are upper bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptlearn.estimate import Range, RoleEstimate, estimate_roles
from promptlearn.experiments.matrix import caps
from promptlearn.experiments.outcome import finished
from promptlearn.experiments.plan import Batch, Entry
from promptlearn.job import too_small
from promptlearn.records import Json, Role


@dataclass(frozen=True, slots=True)
class Preview:
    """One experiment before it runs."""

    entry: Entry
    roles: Mapping[Role, RoleEstimate]
    finished: bool
    """Whether the store has its outcome already, so that it takes nothing."""

    @property
    def calls(self) -> Range:
        return _sum(*(role.calls for role in self.roles.values()))

    @property
    def tokens(self) -> Range:
        return _sum(*(part for role in self.roles.values() for part in (role.input_tokens, role.output_tokens)))

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """None: nobody knows the price of one of its models."""
        costs = [role.cost_usd for role in self.roles.values()]
        known = [cost for cost in costs if cost is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(costs) else None

    @property
    def budget(self) -> dict[str, float]:
        """Its caps, by key."""
        return caps(self.entry.job.described["budget"])

    def to_json(self) -> dict[str, Json]:
        data = self.entry.job.dataset
        return {
            "name": self.entry.name,
            "axes": dict(self.entry.experiment.axes),
            "learns": self.entry.learns,
            "finished": self.finished,
            "rows": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            "roles": {role: one.to_json() for role, one in self.roles.items()},
            "budget": self.budget,
        }


@dataclass(frozen=True, slots=True)
class BatchPreview:
    experiments: tuple[Preview, ...]
    warnings: tuple[str, ...]
    """Of every table once, and of every experiment whose budget is too small."""

    @classmethod
    def of(cls, batch: Batch) -> BatchPreview:
        previews = tuple(
            Preview(entry, estimate_roles(entry.job, entry.learns), finished(batch.store, entry) is not None)
            for entry in batch.entries
        )
        tables = {id(entry.job.dataset): entry for entry in batch.entries}
        warnings = [warning for entry in tables.values() for warning in entry.job.warnings]
        warnings += [
            f"{entry.name}: {warning}" for entry in batch.entries if entry.learns for warning in too_small(entry.job)
        ]
        return cls(previews, tuple(dict.fromkeys(warnings)))

    @property
    def calls(self) -> Range:
        """Of the experiments that are not finished."""
        return _sum(*(one.calls for one in self.experiments if not one.finished))

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        costs = [one.cost_usd for one in self.experiments if not one.finished]
        known = [cost for cost in costs if cost is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(costs) else None

    def to_json(self) -> dict[str, Json]:
        cost = self.cost_usd
        return {
            "dry_run": True,
            "experiments": [one.to_json() for one in self.experiments],
            "totals": {
                "experiments": len(self.experiments),
                "finished": sum(one.finished for one in self.experiments),
                "calls": [self.calls.low, self.calls.high],
                "cost_usd": list(cost) if cost else None,
            },
            "warnings": list(self.warnings),
        }


def _sum(*ranges: Range) -> Range:
    return Range(sum(one.low for one in ranges), sum(one.high for one in ranges))
