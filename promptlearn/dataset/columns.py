"""Which column of a table plays which role. Knows names; no rows, no values."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptlearn.dataset.rows import Table
from promptlearn.dataset.splits import Shares, SplitColumn
from promptlearn.errors import DataError


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column plays which role."""

    inputs: Mapping[str, str]
    expected: str | None
    group: str | None
    id: str | None
    metadata: tuple[str, ...]
    domain: str | None
    split: str | None
    only: frozenset[str] | None
    """The columns that rows may have, where the first row decided what the inputs are."""

    @classmethod
    def choose(
        cls,
        table: Table,
        inputs: Sequence[str] | Mapping[str, str] | None,
        expected: str | None,
        group: str | None,
        id: str | None,
        metadata: tuple[str, ...],
        domain: str | None,
        how: Shares | SplitColumn,
    ) -> "Columns":
        split = how.name if isinstance(how, SplitColumn) else None
        others = [name for name in (expected, group, id, domain, split, *metadata) if name is not None]
        if isinstance(inputs, str):
            raise DataError(f"data.inputs: a list of columns was expected; write [{inputs}]")
        if inputs is None:
            chosen = {name: name for name in table.columns if name not in others}
        else:
            chosen = dict(inputs) if isinstance(inputs, Mapping) else {name: name for name in inputs}
        if not chosen:
            raise DataError(f"{table.name}: no column is left for data.inputs; columns: {', '.join(table.columns)}")
        if table.fixed:
            for name in (*chosen.values(), *others):
                if name not in table.columns:
                    raise DataError(f"{table.name}: {no_column(name, table.columns)}")
        only = frozenset(table.columns) | set(others) if inputs is None and not table.fixed else None
        return cls(chosen, expected, group, id, metadata, domain, split, only)


def no_column(name: str, columns: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, columns, n=1)
    advice = f"; did you mean '{close[0]}'?" if close else "; rename it or change `data` in the configuration"
    return f"no column '{name}'; columns: {', '.join(columns)}{advice}"
