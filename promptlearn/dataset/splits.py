"""Which split a row is in, and in which order rows are taken (invariant 5). Knows texts to hash; no rows, no files.

A row's place depends on its own key alone: not on the other rows, their order, or the file's format. So a table that
grows keeps every old row in its split.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from promptlearn.errors import DataError
from promptlearn.records import SPLITS, Split

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.4, "validation": 0.3, "test": 0.3}

_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_SPLIT_SALT = "promptlearn/split/1\0"
_ORDER_SALT = "promptlearn/order/1\0"


@dataclass(frozen=True, slots=True)
class Shares:
    """Split by hash, so that about these fractions of all keys fall into each split."""

    train: float
    validation: float
    test: float

    def split_of(self, key: str) -> Split:
        at = int.from_bytes(_hash(_SPLIT_SALT, key)[:8], "big") / 2**64
        if at < self.train:
            return "train"
        return "validation" if at < self.train + self.validation else "test"


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """Split by what a column says."""

    name: str


def parse_split(spec: Mapping[str, object] | None) -> Shares | SplitColumn:
    """Read `{train: 0.4, validation: 0.3, test: 0.3}` (a share left out is 0, but not test's) or `{column: name}`."""
    spec = DEFAULT_SHARES if spec is None else spec
    column = spec.get("column")
    if column is not None:
        if len(spec) > 1 or not isinstance(column, str):
            raise DataError("data.split: give either {column: name} or shares for train, validation and test")
        return SplitColumn(column)
    unknown = next((name for name in spec if name not in SPLITS), None)
    if unknown is not None:
        raise DataError(f"data.split: unknown key '{unknown}'; possible: {', '.join(SPLITS)}, or column")
    shares = {name: _share(name, spec.get(name, 0.0)) for name in SPLITS}
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise DataError(f"data.split: the shares add up to {sum(shares.values()):g}; they must add up to 1")
    if shares["test"] == 0:
        raise DataError("data.split: test is 0; nothing can be proven without test rows")
    return Shares(**shares)


def parse_name(value: str) -> Split | None:
    """The split that a cell of a split column names."""
    return _NAMES.get(value.strip().lower())


def order_of(identity: str) -> bytes:
    """Sort key of the one fixed random order within a split."""
    return _hash(_ORDER_SALT, identity)


def _share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"data.split.{name}: {value!r} is not a share from 0 to 1")
    return float(value)


def _hash(salt: str, text: str) -> bytes:
    return hashlib.sha256((salt + text).encode()).digest()
