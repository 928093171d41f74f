"""`data`: the table of examples and how it is dealt out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from promptlearn.config.section import Section


class SplitConfig(Section):
    """Shares of the rows, or the name of a column that says train, validation or test."""

    train: float = Field(0.4, ge=0, le=1)
    """Learned from."""
    validation: float = Field(0.3, gt=0, le=1)
    """Raced on."""
    test: float = Field(0.3, gt=0, le=1)
    """Read once, at the end."""
    column: str | None = None
    """Column that holds `train`, `validation` or `test`, instead of shares."""

    @model_validator(mode="after")
    def _adds_up(self) -> SplitConfig:
        if self.column is None and abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError(
                f"train, validation and test add up to {self.train + self.validation + self.test:g}, not 1"
            )
        return self


class LimitConfig(Section):
    """At most so many rows of each split."""

    train: int | None = Field(None, gt=0)
    """Rows of the train split."""
    validation: int | None = Field(None, gt=0)
    """Rows of the validation split."""
    test: int | None = Field(None, gt=0)
    """Rows of the test split."""


class DataConfig(Section):
    file: Path
    """CSV, TSV, JSONL, JSON or Parquet. Rows with the same inputs and the same expected value count once."""
    inputs: tuple[str, ...] | dict[str, str] | None = None
    """Input columns, or {variable: column}; by default every column that has no other use."""
    expected: str | None = None
    """Column of right answers."""
    group: str | None = None
    """Rows with the same value in this column stay in one split."""
    id: str | None = None
    """Column of stable ids; by default an id is the hash of the inputs."""
    metadata: tuple[str, ...] = ()
    """Further columns to keep with each example, for reports."""
    domain: str | None = None
    """Column that says which part of the product a row is about."""
    encoding: str = "utf-8"
    """Of text files; a byte-order mark is understood."""
    split: SplitConfig = SplitConfig()
    """How rows are dealt out."""
    limit: LimitConfig = LimitConfig()
    """Fewer rows, for a cheaper run."""
