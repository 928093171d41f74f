"""A run that improved, as a store holds it: a prompt, the better one, and their rows on the test split."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptlearn.records import (
    Candidate,
    Contract,
    Effect,
    Example,
    Interval,
    Layout,
    Message,
    Prompt,
    Rollout,
    Rule,
    Usage,
    Verdict,
)
from promptlearn.store import Store

COMMENT = "https://github.com/shop/support/pull/3#discussion_r12"
OLD = Prompt((Message("system", "Be helpful."),), layout=Layout("text"))
NEW = replace(
    OLD,
    rules=(
        Rule("Never promise a refund.", (COMMENT, "exact@e1"), Effect(0.25, Interval(0.05, 0.45), 40)),
        Rule("Thank @ana; fixes #1, closes shop/support#2 and GH-3.", ("5f2c",)),
    ),
)
BOUND = Contract(variables=frozenset({"message"}))


async def learned_run(
    store: Store,
    old: Prompt = OLD,
    new: Prompt = NEW,
    file: Path | None = Path("/srv/prompts/support.md"),
    decision: str = "improved",
    rationale: str = "what reviewers ask for",
    worse: Sequence[str] = ("e2",),
    **config: Any,
) -> str:
    """Keep such a run; returns its id. `worse` are test examples that the better prompt gets wrong."""
    described = {"models": {"task": {"model": "local//models/tiny.gguf"}, "meta": {"model": "openai/big"}}} | config
    if file is not None:
        described |= {"prompt": {"file": str(file), "key": config.get("key")}}
    run = await store.start_run(described, "digest", {"promptlearn": "0.1.0", "python": "3.11.7"}, seed=7)
    await store.add_candidate(run, Candidate(old, (), "baseline"), 0)
    await store.add_candidate(run, Candidate(new, (old.digest,), "rules", rationale, Usage(calls=2)), 1)
    await store.add_prompt(new)
    rows = [Example(f"e{number}", {"message": f"message {number}"}, "shipping") for number in range(20)]
    await store.add_examples(run, rows, "test")
    rollouts, verdicts = [], []
    for prompt, wrong in ((old, {row.id for row in rows[3:15]}), (new, set(worse))):
        for row in rows:
            rollouts.append(Rollout(prompt.digest, row.id, "an answer"))
            score = 0.0 if row.id in wrong else 1.0
            verdicts.append(Verdict("exact", rollouts[-1].id, score, explanation="because"))
    await asyncio.gather(*(store.add_rollout(run, rollout, "test") for rollout in rollouts))
    await store.add_verdicts(run, verdicts)
    await store.read_test(run, "final")
    await store.finish_run(run, "finished", "rounds", _result(old, new, decision))
    return run


def _result(old: Prompt, new: Prompt, decision: str) -> dict[str, Any]:
    used = {"calls": 90, "cached_calls": 4, "input_tokens": 1200, "output_tokens": 300, "cached_tokens": 0}
    return {
        "decision": decision,
        "baseline": {
            "digest": old.digest,
            "test": {"score": 0.4, "n": 20, "errors": 0, "ci95": [0.2, 0.6]},
        },
        "best": {"digest": new.digest, "test": {"score": 0.95, "n": 20, "errors": 1, "ci95": [0.75, 1.0]}},
        "delta": {"score": 0.55, "ci95": [0.3, 0.8], "p_value": 0.00098, "test": "mcnemar_exact", "n": 20},
        "usage": {"task": used | {"cost_usd": None}, "meta": used | {"cost_usd": 0.0123}},
    }
