"""Rollouts and verdicts as rows of their tables: the record whole, and beside it what rows are found by and added up.

Knows columns, and no database.
"""

from __future__ import annotations

from typing import Any

from promptlearn.records import Rollout, Split, Usage, Verdict, standing
from promptlearn.store.codec import encode

LARGEST = 10**14
"""A count above this is an endpoint's mistake; a database could not add up many of them."""


def rollout_entry(run: str, rollout: Rollout, split: Split, score: float | None) -> dict[str, Any]:
    """`score` is what all judges together gave it; None: not judged."""
    return {
        "run": run,
        "id": rollout.id,
        "prompt": rollout.prompt,
        "split": split,
        "failed": int(rollout.error is not None),
        "body": encode(rollout),
        "example": rollout.example,
        "score": score,
        **_usage(rollout.usage),
    }


def verdict_entry(run: str, verdict: Verdict, prompt: str, split: str) -> dict[str, Any]:
    """`prompt` and `split` are those of the rollout that the verdict is about."""
    return {
        "run": run,
        "rollout": verdict.rollout,
        "judge": verdict.name,
        "score": verdict.score,
        "body": encode(verdict),
        "prompt": prompt,
        "split": split,
        "standing": standing(verdict),
        "about": verdict.about if verdict.kind == "human" else None,
        **_usage(verdict.usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "calls": min(usage.calls, LARGEST),
        "cached_calls": min(usage.cached_calls, LARGEST),
        "input_tokens": min(usage.input_tokens, LARGEST),
        "output_tokens": min(usage.output_tokens, LARGEST),
        "cached_tokens": min(usage.cached_tokens, LARGEST),
        "cost_usd": usage.cost_usd,
    }
