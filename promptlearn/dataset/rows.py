"""Rows of a file or table, one at a time, each with its place for error messages.

Knows file formats and encodings; not what a column means. CSV is read row by row, JSONL line by line, Parquet by
record batches, so memory holds what the caller keeps. A JSON file is read whole.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from promptlearn.dataset.values import CELL_LIMIT
from promptlearn.errors import DataError

Source: TypeAlias = Any
"""A path, a pandas DataFrame, or an iterable of mappings."""

_BATCH_ROWS = 1024
_WIDE_ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: cells by column, and where it stands."""

    number: int
    """Counts data rows from 1."""
    place: str
    """`row 7 (line 9)`, for people."""
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to be read once."""

    name: str
    columns: tuple[str, ...]
    """Of the header, or of the first row where each row has its own keys."""
    rows: Iterator[Row]
    fixed: bool
    """Whether every row has all columns: false for JSON, JSONL and lists of mappings."""


def open_table(source: Source, encoding: str = "utf-8") -> Table:
    """Open anything that `load_dataset` accepts. Raises `DataError`, here or while rows are read."""
    if isinstance(source, str | Path):
        return _open_file(Path(source), encoding)
    if hasattr(source, "columns") and hasattr(source, "itertuples"):
        return _open_frame(source)
    if isinstance(source, Iterable) and not isinstance(source, Mapping):
        return _from_records("data", _number_records(source))
    raise DataError(f"data: a {type(source).__name__} is no table; give a path, a DataFrame or a list of dicts")


def _open_file(path: Path, encoding: str) -> Table:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: can not read '{path.suffix}' files; possible: {', '.join(_READERS)}")
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {problem}; name a table that is there ({', '.join(_READERS)})")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DataError(f"{path}: unknown encoding '{encoding}'; try utf-8, latin-1 or utf-16") from None
    try:
        return reader(path, encoding)
    except OSError as error:
        raise DataError(f"{path}: can not be read: {error.strerror or error}") from None


def _open_csv(path: Path, encoding: str) -> Table:
    records = _csv_records(path, encoding)
    _, header = next(records, (0, []))
    if not header:
        raise DataError(f"{path}: no header; the first line must name the columns")
    repeated = next((name for i, name in enumerate(header) if name in header[:i]), None)
    if repeated is not None:
        raise DataError(f"{path}: line 1: column '{repeated}' stands twice in the header; rename one")
    return Table(str(path), tuple(header), _csv_rows(path, header, records), fixed=True)


def _csv_rows(path: Path, header: list[str], records: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    for number, (line, cells) in enumerate(records, start=1):
        place = f"row {number} (line {line})"
        if len(cells) != len(header):
            raise DataError(
                f"{path}: {place}: {len(cells)} cells where the header has {len(header)}; "
                "put cells that hold the separator or a line end in double quotes"
            )
        yield Row(number, place, dict(zip(header, cells, strict=True)))


def _csv_records(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, header first, each with the line where it starts."""
    csv.field_size_limit(max(csv.field_size_limit(), CELL_LIMIT))
    number, line = -1, 0
    try:
        with path.open(encoding=_with_mark(encoding), newline="") as stream:
            reader = csv.reader(stream, delimiter=_separator(path, encoding), strict=True)
            for cells in reader:
                start, line = line + 1, reader.line_num
                if cells:
                    number += 1
                    yield start, cells
    except UnicodeDecodeError:
        raise _undecodable_cell(path, encoding) from None
    except csv.Error as error:
        large = "limit" in str(error)
        why = f"a cell has more than {CELL_LIMIT:,} characters" if large else str(error)
        raise DataError(f"{path}: row {number + 1} (line {line + 1}): {why}; is a double quote never closed?") from None


def _separator(path: Path, encoding: str) -> str:
    """Tab for TSV; for CSV a comma, or a semicolon or tab where the header has no comma."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    with path.open(encoding=_with_mark(encoding), errors="replace") as stream:
        header = stream.readline(1_000_000)
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _undecodable_cell(path: Path, encoding: str) -> DataError:
    """Names the cell: Latin-1 reads any bytes and gives them back, so each cell can be tried on its own."""
    header: list[str] = []
    with path.open("rb") as raw:
        wide = _WIDE_ENCODINGS.get(raw.read(2))
    if wide:
        return _not_encoded(path, "", encoding, wide)
    for number, (line, cells) in enumerate(_csv_records(path, "latin-1")):
        for at, cell in enumerate(cells):
            try:
                cell.encode("latin-1").decode(encoding)
            except UnicodeDecodeError:
                column = f"column '{header[at]}'" if at < len(header) else f"column {at + 1}"
                where = f"row {number} (line {line}): {column}: " if number else f"header (line {line}): "
                return _not_encoded(path, where, encoding)
        header = header or cells
    return _not_encoded(path, "", encoding)


def _not_encoded(path: Path, where: str, encoding: str, likely: str = "latin-1") -> DataError:
    return DataError(f"{path}: {where}not {encoding.upper()}; save it as UTF-8 or set data.encoding: {likely}")


def _open_jsonl(path: Path, encoding: str) -> Table:
    return _from_records(str(path), _jsonl_records(path, encoding))


def _jsonl_records(path: Path, encoding: str) -> Iterator[tuple[str, object]]:
    number, line = 0, 0
    try:
        with path.open(encoding=_with_mark(encoding), newline="\n") as stream:
            for line, text in enumerate(stream, start=1):
                if text.strip():
                    number += 1
                    yield f"row {number} (line {line})", json.loads(text)
    except UnicodeDecodeError:
        raise _undecodable_line(path, encoding) from None
    except json.JSONDecodeError as error:
        place = f"row {number} (line {line}, column {error.colno})"
        raise DataError(f"{path}: {place}: not JSON: {error.msg}; each line must be one object") from None


def _undecodable_line(path: Path, encoding: str) -> DataError:
    with path.open("rb") as stream:
        for line, data in enumerate(stream, start=1):
            try:
                data.decode(encoding)
            except UnicodeDecodeError as error:
                wide = _WIDE_ENCODINGS.get(data[:2], "latin-1")
                return _not_encoded(path, f"line {line}, byte {error.start + 1}: ", encoding, wide)
    return _not_encoded(path, "", encoding)


def _open_json(path: Path, encoding: str) -> Table:
    try:
        with path.open(encoding=_with_mark(encoding)) as stream:
            document = json.load(stream)
    except UnicodeDecodeError:
        raise _undecodable_line(path, encoding) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(
            f"{path}: {where}: not JSON: {error.msg}; one object per line needs the ending .jsonl"
        ) from None
    if not isinstance(document, list):
        raise DataError(f"{path}: a list of objects was expected, got {_json_type(document)}")
    return _from_records(str(path), _number_records(document))


def _number_records(records: Iterable[object]) -> Iterator[tuple[str, object]]:
    for number, record in enumerate(records, start=1):
        yield f"row {number}", record


def _from_records(name: str, records: Iterator[tuple[str, object]]) -> Table:
    """A table whose rows have their own keys; the first one is read ahead for its columns."""
    rows = _object_rows(name, records)
    first = next(rows, None)
    if first is None:
        return Table(name, (), iter(()), fixed=False)
    return Table(name, tuple(first.cells), _prepend(first, rows), fixed=False)


def _object_rows(name: str, records: Iterator[tuple[str, object]]) -> Iterator[Row]:
    for number, (place, record) in enumerate(records, start=1):
        if not isinstance(record, Mapping):
            raise DataError(f"{name}: {place}: an object was expected, got {_json_type(record)}")
        yield Row(number, place, {str(key): value for key, value in record.items()})


def _prepend(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def _open_parquet(path: Path, encoding: str) -> Table:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install 'promptlearn-optimizer[data]'") from None
    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise DataError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from None
    return Table(str(path), tuple(file.schema_arrow.names), _parquet_rows(path, file), fixed=True)


def _parquet_rows(path: Path, file: Any) -> Iterator[Row]:
    from pyarrow import ArrowException

    number = 0
    try:
        with file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, f"row {number}", cells)
    except ArrowException as error:
        raise DataError(f"{path}: after row {number}: {str(error).splitlines()[0]}") from None


def _open_frame(frame: Any) -> Table:
    columns = tuple(str(column) for column in frame.columns)
    repeated = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if repeated is not None:
        raise DataError(f"DataFrame: column '{repeated}' stands twice; rename one")
    tuples = enumerate(frame.itertuples(index=False, name=None), start=1)
    rows = (Row(n, f"row {n}", dict(zip(columns, cells, strict=True))) for n, cells in tuples)
    return Table("DataFrame", columns, rows, fixed=True)


_READERS: Mapping[str, Callable[[Path, str], Table]] = {
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_jsonl,
    ".ndjson": _open_jsonl,
    ".json": _open_json,
    ".parquet": _open_parquet,
}
