"""Tables to examples: columns to fields, stable ids, duplicates and conflicts, three splits.

Knows rows, columns and splits; no file format, prompt or model.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from promptlearn.dataset.columns import Columns, no_column
from promptlearn.dataset.rows import Row, Source, Table, open_table
from promptlearn.dataset.splits import Shares, SplitColumn, order_of, parse_name, parse_split
from promptlearn.dataset.values import as_key, to_json
from promptlearn.errors import DataError
from promptlearn.records import SPLITS, Example, Json, Split, fingerprint

FEW_ROWS = 20
"""A validation or test split with fewer rows proves hardly anything."""
_MOST_LABELS = 50


@dataclass(frozen=True, slots=True)
class Conflict:
    """Rows with the same inputs (or the same id) and different expected values. All are kept, each with its own id."""

    ids: tuple[str, ...]
    expected: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples in three splits. Within a split, in one fixed random order that no file order changes."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    name: str = "data"
    """The file, for people."""
    columns: tuple[str, ...] = ()
    """Of the table, as it names them."""
    variables: tuple[str, ...] = ()
    """What a prompt may mention: the keys of every example's inputs."""
    labels: tuple[str, ...] = ()
    """Distinct expected texts, sorted, where the task looks like labelling; else empty."""
    duplicates: int = 0
    """Rows left out because another one is the same."""
    conflicts: tuple[Conflict, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    """One line each, for people."""

    @property
    def examples(self) -> tuple[Example, ...]:
        return self.train + self.validation + self.test

    @property
    def digest(self) -> str:
        """Content address of what is in which split."""
        return fingerprint(
            [[[e.id, dict(e.inputs), e.expected, dict(e.metadata)] for e in self.split(name)] for name in SPLITS]
        )

    def split(self, name: Split) -> tuple[Example, ...]:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def _content(example: Example) -> Json:
    return [example.id, dict(example.inputs), example.expected, dict(example.metadata)]


def load_dataset(
    source: Source,
    *,
    inputs: Sequence[str] | Mapping[str, str] | None = None,
    expected: str | None = None,
    group: str | None = None,
    id: str | None = None,
    metadata: Sequence[str] = (),
    domain: str | None = None,
    split: Mapping[str, object] | None = None,
    limit: Mapping[str, int] | None = None,
    encoding: str = "utf-8",
) -> Dataset:
    """Read a table into a `Dataset`.

    `source`: a .csv, .tsv, .jsonl, .json or .parquet file, a pandas DataFrame, or an iterable of dicts.
    `inputs`: columns, or variable → column; None takes every column that has no other role.
    `expected`, `group`, `id`, `domain`: columns; `metadata`: columns to keep besides.
    `split`: shares that add up to 1 (0.4, 0.3, 0.3), or `{"column": name}` with train, validation or test in it.
    `limit`: the most rows per split, the first in the fixed order.

    Rows of one group are in one split; without a group column the id decides. An id is a hash of the inputs unless a
    column gives it. Raises `DataError` naming file, row and column.
    """
    how = parse_split(split)
    limits = _parse_limit(limit)
    table = _open(source, encoding)
    columns = Columns.choose(table, inputs, expected, group, id, tuple(metadata), domain, how)
    found = _Collector(table.name, columns, how)
    for row in table.rows:
        found.add(row)
    if not found.entries:
        raise DataError(f"{table.name}: a header but no rows")
    return _assemble(table, columns, how, found, limits)


def load_columns(source: Source, encoding: str = "utf-8") -> tuple[str, ...]:
    """The columns of a table (of the first row, where each has its own keys), without reading the rest."""
    return _open(source, encoding).columns


def _open(source: Source, encoding: str) -> Table:
    table = open_table(source, encoding)
    if not table.columns:
        raise DataError(f"{table.name}: no rows")
    return table


class _Entry(NamedTuple):
    example: Example
    key: str
    """What decides the split."""
    named: Split | None
    """What the split column says."""


class _Collector:
    """Gathers rows by id, so that equal rows are one example whatever their order."""

    def __init__(self, name: str, columns: Columns, how: Shares | SplitColumn) -> None:
        self.name = name
        self.columns = columns
        self.how = how
        self.entries: dict[tuple[str, str], _Entry] = {}
        self.duplicates = 0
        self.straddling = 0
        self._inputs: dict[str, tuple[str, str]] = {}

    def add(self, row: Row) -> None:
        entry = self._entry(row)
        self._check_id(entry.example, row)
        at = (entry.example.id, as_key(entry.example.expected))
        known = self.entries.get(at)
        if known is None:
            self.entries[at] = entry
            return
        self.duplicates += 1
        self.straddling += known.named != entry.named
        self.entries[at] = min(known, entry, key=_preference)

    def _entry(self, row: Row) -> _Entry:
        columns = self.columns
        if columns.only is not None and not columns.only.issuperset(row.cells):
            extra = next(name for name in row.cells if name not in columns.only)
            raise self._error(row, f"key '{extra}' is new; list the columns that you mean under data.inputs")
        inputs = {variable: self._cell(row, column) for variable, column in columns.inputs.items()}
        group = as_key(self._optional(row, columns.group)) or None
        identity = fingerprint({name: as_key(value) for name, value in inputs.items()})
        if columns.id is not None:
            identity = self._filled(row, columns.id)
        example = Example(
            id=identity,
            inputs=inputs,
            expected=self._expected(row),
            metadata={name: self._optional(row, name) for name in columns.metadata},
            group=group,
            domain=as_key(self._optional(row, columns.domain)) or None,
        )
        return _Entry(example, f"id:{identity}" if group is None else f"group:{group}", self._named(row))

    def _cell(self, row: Row, column: str) -> Json:
        if column not in row.cells:
            raise self._error(row, no_column(column, tuple(row.cells)))
        return self._optional(row, column)

    def _optional(self, row: Row, column: str | None) -> Json:
        if column is None:
            return None
        try:
            return to_json(row.cells.get(column))
        except ValueError as error:
            raise self._error(row, f"column '{column}' {error}") from None

    def _filled(self, row: Row, column: str) -> str:
        text = as_key(self._cell(row, column))
        if not text.strip():
            raise self._error(row, f"column '{column}' is empty; fill it or leave the row out")
        return text

    def _expected(self, row: Row) -> Json:
        column = self.columns.expected
        if column is None:
            return None
        self._filled(row, column)
        return self._cell(row, column)

    def _named(self, row: Row) -> Split | None:
        column = self.columns.split
        if column is None:
            return None
        text = self._filled(row, column)
        named = parse_name(text)
        if named is None:
            raise self._error(row, f"column '{column}' says '{text:.40}'; possible: {', '.join(SPLITS)}")
        return named

    def _check_id(self, example: Example, row: Row) -> None:
        """An id column must not give one id to different inputs."""
        if self.columns.id is None:
            return
        content = fingerprint({name: as_key(value) for name, value in example.inputs.items()})
        before, place = self._inputs.setdefault(example.id, (content, row.place))
        if before != content:
            raise self._error(row, f"column '{self.columns.id}': '{example.id}' has other inputs in {place}")

    def _error(self, row: Row, what: str) -> DataError:
        return DataError(f"{self.name}: {row.place}: {what}")


def _preference(entry: _Entry) -> tuple[int, str, str]:
    """Which of two equal rows stays, whatever their order: the one that a split column puts last, then by content."""
    example = entry.example
    content = [example.group, example.domain, dict(example.metadata), dict(example.inputs), example.expected]
    rank = -SPLITS.index(entry.named) if entry.named else 0
    return rank, entry.key, json.dumps(content, sort_keys=True, ensure_ascii=False)


def _assemble(
    table: Table, columns: Columns, how: Shares | SplitColumn, found: _Collector, limits: Mapping[Split, int]
) -> Dataset:
    conflicts, entries = _resolve(found.entries.values())
    splits: dict[Split, list[Example]] = {name: [] for name in SPLITS}
    for entry in entries:
        splits[entry.named or _split_of(how, entry.key)].append(entry.example)
    _require_rows(table.name, how, splits)
    for examples in splits.values():
        examples.sort(key=lambda example: (order_of(example.id), example.id))
    limited = {name: tuple(examples[: limits.get(name)]) for name, examples in splits.items()}
    return Dataset(
        train=limited["train"],
        validation=limited["validation"],
        test=limited["test"],
        name=table.name,
        columns=table.columns,
        variables=tuple(columns.inputs),
        labels=_labels([entry.example.expected for entry in entries]),
        duplicates=found.duplicates,
        conflicts=conflicts,
        warnings=tuple(_warnings(limited, found, conflicts)),
    )


def _split_of(how: Shares | SplitColumn, key: str) -> Split:
    return how.split_of(key) if isinstance(how, Shares) else "train"


def _resolve(entries: Iterable[_Entry]) -> tuple[tuple[Conflict, ...], list[_Entry]]:
    """Give each of several expected values for one id an id of its own. Without groups they stay in one split."""
    by_id: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_id[entry.example.id].append(entry)
    conflicts, resolved = [], []
    for identity, members in by_id.items():
        if len(members) > 1:
            members.sort(key=lambda entry: as_key(entry.example.expected))
            members = [_renamed(identity, member) for member in members]
            examples = [member.example for member in members]
            conflicts.append(Conflict(tuple(e.id for e in examples), tuple(e.expected for e in examples)))
        resolved += members
    return tuple(sorted(conflicts, key=lambda conflict: conflict.ids)), resolved


def _renamed(identity: str, entry: _Entry) -> _Entry:
    suffix = fingerprint(as_key(entry.example.expected), length=8)
    return entry._replace(example=replace(entry.example, id=f"{identity}-{suffix}"))


def _require_rows(name: str, how: Shares | SplitColumn, splits: Mapping[Split, list[Example]]) -> None:
    for split, examples in splits.items():
        wanted = getattr(how, split) > 0 if isinstance(how, Shares) else split == "test"
        if wanted and not examples:
            total = sum(map(len, splits.values()))
            raise DataError(
                f"{name}: no row falls into {split}, of {total} rows; add rows or groups, or set data.split"
            )


def _labels(expected: list[Json]) -> tuple[str, ...]:
    distinct = {value for value in expected if isinstance(value, str)}
    all_text = all(isinstance(value, str) for value in expected)
    fits = all_text and len(distinct) <= _MOST_LABELS and len(distinct) * 2 < len(expected)
    return tuple(sorted(distinct)) if fits else ()


def _warnings(
    splits: Mapping[Split, Sequence[Example]], found: _Collector, conflicts: Sequence[Conflict]
) -> Iterator[str]:
    for name in ("validation", "test"):
        if len(splits[name]) < FEW_ROWS:
            yield f"{name} has {len(splits[name])} rows; with fewer than {FEW_ROWS} hardly anything can be proven"
    if not splits["train"]:
        yield "train has no rows; nothing can be learned"
    if conflicts:
        yield (
            f"{len(conflicts)} inputs have more than one expected value, "
            f"as {conflicts[0].ids[0]}: {', '.join(as_key(value) for value in conflicts[0].expected):.100}"
        )
    if found.duplicates:
        yield (
            f"{_counted(found.duplicates)} left out, because another row has the same inputs and the same expected "
            "value: it counts once, so that it weighs no more than others and stands in one split alone"
        )
    if found.straddling:
        yield f"{found.straddling} rows stood in two splits; each is kept in the later one (test, then validation)"


def _counted(rows: int) -> str:
    return "1 row is" if rows == 1 else f"{rows} rows are"


def _parse_limit(limit: Mapping[str, int] | None) -> dict[Split, int]:
    for name, count in (limit or {}).items():
        if name not in SPLITS:
            raise DataError(f"data.limit: unknown split '{name}'; possible: {', '.join(SPLITS)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise DataError(f"data.limit.{name}: {count!r} is not a number of rows")
    return {name: limit[name] for name in SPLITS if limit and name in limit}
