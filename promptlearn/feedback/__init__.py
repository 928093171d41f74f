"""Critiques in, failure modes out. Knows verdicts and examples; knows no model, no file and no proposer."""

from promptlearn.feedback.digest import JudgedRow, failure_modes

__all__ = ["JudgedRow", "failure_modes"]
